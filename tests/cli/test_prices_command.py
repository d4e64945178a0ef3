"""`agentwatch prices`, without a daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from agentwatch.errors import SettingsError, UsageError
from agentwatch.upstreams import PROVIDERS
from agentwatch_cli.commands import prices

app = typer.Typer()
prices.register(app)


@app.callback()
def _several() -> None:
    """Keeps `prices` a command of its own."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTWATCH_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["prices", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_a_listing_is_rows_under_their_plural() -> None:
    answer = run_json("ls")
    assert answer["schema_version"] == 1
    by_name = {(row["provider"], row["model"]): row for row in answer["prices"]}
    assert by_name["openai", "gpt-4o"]["input_usd_per_mtok"] == 2.5
    assert {provider for provider, _ in by_name} == {*PROVIDERS, "mistral"}


def test_a_listing_of_one_provider_has_only_that() -> None:
    rows = run_json("ls", "--provider", "groq")["prices"]
    assert {row["provider"] for row in rows} == {"groq"}
    lines = run("ls", "--provider", "groq").splitlines()
    assert "INPUT $/M" in lines[0]
    assert len(lines) == len(rows) + 1


def test_a_provider_that_does_not_exist_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="openai"):
        run("ls", "--provider", "opnai")


def test_one_price_is_the_object_itself_with_null_where_nothing_is_priced() -> None:
    answer = run_json("show", "gpt-4o-2024-08-06")
    assert answer["schema_version"] == 1
    assert answer["model"] == "gpt-4o"
    assert answer["cache_write_usd_per_mtok"] is None
    assert answer["service_tiers"]["priority"]["input_usd_per_mtok"] == 4.25
    assert answer["service_tiers"]["flex"]["by_rule"] is True
    assert answer["tool_fees_usd"]["web_search"] == 0.01
    assert answer["max_output_tokens"] == 16_384


def test_long_context_is_shown_with_its_threshold() -> None:
    (longer,) = run_json("show", "gpt-5.6-sol")["long_context"]
    assert longer["above_input_tokens"] == 272_000
    assert longer["input_usd_per_mtok"] == 8.0
    assert "272,000" in run("show", "gpt-5.6-sol")


def test_a_model_can_be_named_with_its_provider() -> None:
    assert run_json("show", "openai/gpt-4o")["provider"] == "openai"
    assert run_json("show", "openai/gpt-oss-120b")["provider"] == "groq"
    assert run_json("show", "openai/gpt-oss-120b", "--provider", "openai")["provider"] == "openai"


def test_an_unknown_model_says_what_to_do_next() -> None:
    told = CliRunner().invoke(app, ["prices", "show", "gpt-4oo"])
    assert (told.exit_code, told.stdout) == (1, "")
    assert "did you mean gpt-4o" in told.stderr


@pytest.mark.parametrize("name", ["gpt-99", "groq/own/model"])
def test_the_sample_of_a_price_is_one_where_it_says_that_it_goes(home: Path, name: str) -> None:
    told = CliRunner().invoke(app, ["prices", "show", name]).stderr
    *_, where, table, rates, more = told.splitlines()
    assert str(home / "prices.toml") in where and "agentwatch restart" in where
    (home / "prices.toml").write_text("\n".join((table, rates, more)))
    shown = run_json("show", name)
    assert (shown["input_usd_per_mtok"], shown["output_usd_per_mtok"]) == (1.0, 4.0)


def test_a_model_that_is_billed_otherwise_says_so() -> None:
    assert "audio_ms: $0.36 for 3,600,000" in run("show", "whisper-1")
    answer = run_json("show", "tts-1")
    assert (answer["input_usd_per_mtok"], answer["tool_fees_usd"]) == (None, {"characters": 15.0})
    assert answer["fees_are_per"] == {"characters": 1_000_000}


def test_a_ceiling_price_is_shown_as_what_it_is(home: Path) -> None:
    (home / "config.toml").write_text("[prices]\nunknown_usd_per_mtok = 50\n")
    answer = run_json("show", "gpt-99")
    assert (answer["source"], answer["input_usd_per_mtok"]) == ("ceiling price", 50.0)
    assert run_json("show", "gpt-4o")["source"].startswith("genai-prices")
    assert run_json("check")["unknown_usd_per_mtok"] == 50.0
    assert "any" in run("show", "gpt-99")


def test_the_users_own_price_stands_in_the_place_of_the_listed_one(home: Path) -> None:
    (home / "prices.toml").write_text('[openai."gpt-4o"]\ninput = 1.5\noutput = 6\n')
    rows = run_json("ls", "--provider", "openai")["prices"]
    (own,) = [row for row in rows if row["model"] == "gpt-4o"]
    assert (own["source"], own["input_usd_per_mtok"]) == ("user", 1.5)


def test_a_mistake_in_the_users_file_is_told_by_check(home: Path) -> None:
    (home / "prices.toml").write_text('[openai."gpt-4o"]\ninput = -1\n')
    with pytest.raises(SettingsError, match="line 2"):
        run("check")


def test_check_tells_what_is_unpriced_what_is_ruled_and_which_version() -> None:
    answer = run_json("check")
    assert answer["version"].startswith("genai-prices ")
    unpriced = {row["model"] for row in answer["unpriced"]}
    assert "gemma-3" in unpriced and "whisper-1" not in unpriced
    ruled = {(row["provider"], row["model"]): row["rules"] for row in answer["by_rule"]}
    assert "service tier ultrafast: 6 x default" in ruled["openai", "gpt-6.1-sol"]
    assert answer["unknown_usd_per_mtok"] is None
    text = run("check")
    assert "gemma-3" in text
    assert "refused" in text


def test_a_model_of_the_users_does_not_count_as_unpriced(home: Path) -> None:
    (home / "prices.toml").write_text('[gemini."gemma-3"]\ninput = 0\noutput = 0\n')
    assert "gemma-3" not in {row["model"] for row in run_json("check")["unpriced"]}


def test_the_command_is_light_until_it_runs() -> None:
    program = (
        "import sys, agentwatch_cli.commands.prices\n"
        "heavy = {'genai_prices', 'rich.console', 'msgspec', 'aiohttp', 'httpx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def _edition(folder: Path, price: str) -> Path:
    """The library's own data with gpt-4o at another price for input."""
    import genai_prices

    data = (Path(genai_prices.__file__).parent / "data.py").read_text()
    before, found, after = data.partition("id='gpt-4o',")
    assert found
    file = folder / "data.py"
    file.write_text(
        before + found + after.replace("input_mtok=Decimal('2.5')", f"input_mtok={price}", 1)
    )
    return file


def test_another_edition_is_compared_without_being_run(tmp_path: Path) -> None:
    import zipfile

    edition = _edition(tmp_path, "Decimal('2.75')")
    wheel = tmp_path / "genai_prices-9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.write(edition, "genai_prices/data.py")
    changed = run_json("check", "--against", str(wheel))["changes"]
    assert {
        "provider": "openai",
        "model": "gpt-4o",
        "what": "default input",
        "was": 2.5,
        "now": 2.75,
    } in changed
    assert {row["model"] for row in changed} == {"gpt-4o"}
    shown = run("check", "--against", str(tmp_path))
    assert "openai/gpt-4o" in shown and "2.75" in shown


def test_the_same_edition_changes_nothing(tmp_path: Path) -> None:
    edition = _edition(tmp_path, "Decimal('2.5')")
    assert run_json("check", "--against", str(edition))["changes"] == []
    assert "gpt-4o" not in run("check", "--against", str(edition))


@pytest.mark.parametrize(
    "price", ["open('/etc/passwd')", "Decimal.from_float(2)", "(lambda: 1)()", "2 ** 9"]
)
def test_what_is_no_constant_is_refused_and_not_run(tmp_path: Path, price: str) -> None:
    with pytest.raises(UsageError, match="no price list"):
        run("check", "--against", str(_edition(tmp_path, price)))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        run("check", "--against", str(tmp_path / "none.whl"))
    with pytest.raises(UsageError, match="has no genai_prices"):
        run("check", "--against", str(tmp_path))
