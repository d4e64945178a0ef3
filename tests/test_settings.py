"""Settings: what was said is obeyed, and what can't be obeyed is an error."""

import os
import string
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.errors import SettingsError
from agentwatch.settings import VARIABLES, Settings, load_settings


def load(
    home: Path, toml: str = "", flags: dict[str, object] | None = None, **env: str
) -> Settings:
    if toml:
        (home / "config.toml").write_text(toml)
    return load_settings(flags, {"AGENTWATCH_HOME": str(home), **env})


def refused(home: Path, toml: str = "", **env: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(home, toml, **env)
    return str(caught.value)


def test_without_any_word_the_defaults_hold(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.port == 4141
    assert settings.enforcement.hold_wait_s == 60
    assert settings.enforcement.fail_open is True
    assert settings.ledger.durability == "power"
    assert settings.upstream("openai") == "https://api.openai.com/v1"
    assert settings.prices.unknown_nanos_per_mtok is None


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path) -> None:
    toml = "port = 1001\n[enforcement]\nhold_wait_s = 7\n"
    assert load(tmp_path, toml).port == 1001
    assert load(tmp_path, AGENTWATCH_PORT="1002").port == 1002
    assert load(tmp_path, flags={"port": 1003}, AGENTWATCH_PORT="1002").port == 1003
    assert load(tmp_path, flags={"port": None}, AGENTWATCH_PORT="1002").port == 1002
    assert load(tmp_path).enforcement.hold_wait_s == 7


def test_a_section_keeps_its_other_keys_when_a_variable_sets_one(tmp_path: Path) -> None:
    toml = "[enforcement]\nclamp = false\nhold_wait_s = 7\n"
    settings = load(tmp_path, toml, AGENTWATCH_ENFORCEMENT_HOLD_WAIT_S="9.5")
    assert settings.enforcement.hold_wait_s == 9.5
    assert settings.enforcement.clamp is False


@pytest.mark.parametrize(
    ("toml", "key", "nearest"),
    [
        ("prot = 1", "prot", "'port'"),
        ("[enforcment]\nclamp = true", "enforcment", "'enforcement'"),
        ("[enforcement]\nhold_wait = 1", "[enforcement] hold_wait", "'hold_wait_s'"),
        ("[providers.openia]\nbase_url = 'https://x'", "[providers] openia", "'openai'"),
        ("[providers.openai]\nbaseurl = 'x'", "[providers.openai] baseurl", "'base_url'"),
    ],
)
def test_a_budget_field_that_is_silently_ignored(
    tmp_path: Path, toml: str, key: str, nearest: str
) -> None:
    message = refused(tmp_path, toml)
    assert key in message
    assert nearest in message
    assert str(tmp_path / "config.toml") in message


@pytest.mark.parametrize(
    "variable",
    ["AGENTWATCH_ENFORCEMENT_HOLD_WAIT", "AGENTWATCH_DOORS_X", "AGENTWATCH_OPENAI_UPSTREM"],
)
def test_a_mistyped_variable_is_not_ignored(tmp_path: Path, variable: str) -> None:
    message = refused(tmp_path, **{variable: "1"})
    assert variable in message
    assert "did you mean 'AGENTWATCH_" in message or "known are AGENTWATCH_" in message


def test_a_variable_of_other_tools_is_left_alone(tmp_path: Path) -> None:
    load(tmp_path, AGENTWATCH_PROJECT="p", AGENTWATCH_API_KEY="k", AGENTWATCH_SESSION_TOKEN="t")


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, AGENTWATCH_PORT="", AGENTWATCH_STATE_URL="").port == 4141


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("AGENTWATCH_PORT", "65536"),
        ("AGENTWATCH_PORT", "-1"),
        ("AGENTWATCH_PORT", "4141.5"),
        ("AGENTWATCH_ENFORCEMENT_HOLD_WAIT_S", "nan"),
        ("AGENTWATCH_ENFORCEMENT_HOLD_WAIT_S", "inf"),
        ("AGENTWATCH_ENFORCEMENT_HOLD_WAIT_S", "-1"),
        ("AGENTWATCH_ENFORCEMENT_CLAMP", "maybe"),
        ("AGENTWATCH_LEDGER_DURABILITY", "none"),
        ("AGENTWATCH_PRICES_UNKNOWN_USD_PER_MTOK", "0"),
        ("AGENTWATCH_PRICES_UNKNOWN_USD_PER_MTOK", "nan"),
        ("AGENTWATCH_PRICES_UNKNOWN_USD_PER_MTOK", "-3"),
        ("AGENTWATCH_STATE_URL", "redis://127.0.0.1"),
        ("AGENTWATCH_STATE_URL", "sqlite:///elsewhere"),
    ],
)
def test_a_value_out_of_its_range_is_refused(tmp_path: Path, variable: str, text: str) -> None:
    key = variable.removeprefix("AGENTWATCH_").lower()
    assert key.rpartition("_")[2] in refused(tmp_path, **{variable: text})


@pytest.mark.parametrize("toml", ["port = true", "port = '4141'", "[doors]\nhead_timeout_s = nan"])
def test_a_file_says_types_as_they_are(tmp_path: Path, toml: str) -> None:
    assert "config.toml" in refused(tmp_path, toml)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    assert "config.toml is not valid TOML" in refused(tmp_path, "port = = 1")


def test_a_ceiling_price_loses_no_digit(tmp_path: Path) -> None:
    settings = load(tmp_path, "[prices]\nunknown_usd_per_mtok = 12.345678901\n")
    assert settings.prices.unknown_usd_per_mtok == Decimal("12.345678901")
    assert settings.prices.unknown_nanos_per_mtok == 12_345_678_901


def test_a_provider_is_set_by_its_short_and_by_its_full_variable(tmp_path: Path) -> None:
    short = load(tmp_path, AGENTWATCH_OPENAI_UPSTREAM="http://127.0.0.1:9/v1")
    full = load(tmp_path, AGENTWATCH_PROVIDERS_OPENAI_BASE_URL="http://127.0.0.1:9")
    assert short.upstream("openai") == full.upstream("openai") == "http://127.0.0.1:9/v1"


def test_passthrough_is_a_list_of_plain_paths(tmp_path: Path) -> None:
    settings = load(tmp_path, AGENTWATCH_PROVIDERS_OPENAI_PASSTHROUGH="/v1/files, /v1/models")
    assert settings.provider("openai").passthrough == ("/v1/files", "/v1/models")
    assert settings.provider("xai").passthrough == ()


@pytest.mark.parametrize("path", ["v1/files", "/v1/../x", "/v1/%2e%2e", "/v1/*", "/v1/a b", "/a?b"])
def test_a_passthrough_that_would_open_more_than_it_says(tmp_path: Path, path: str) -> None:
    assert "passthrough" in refused(tmp_path, f"[providers.openai]\npassthrough = ['{path}']")


def test_every_variable_is_obeyed(tmp_path: Path) -> None:
    numbers = {"int": "4", "float": "3", "bool": "false", "str": "alert"}
    for variable, key in VARIABLES.items():
        before = load(tmp_path)
        value = _another(before, key, numbers)
        after = load(tmp_path, **{variable: value})
        assert after != before, variable


def _another(settings: Settings, key: tuple[str, ...], numbers: dict[str, str]) -> str:
    words = {
        "durability": "process",
        "in_doubt": "input",
        "level": "debug",
        "url": "sqlite:",
        "base_url": "https://other.example",
        "passthrough": "/v1/files",
        "auto_tier": "flex",
        "unknown_usd_per_mtok": "3",
        "usd_per_hour": "3",
        "act_from": "info",
        "webhook_url": "https://hooks.example/a",
        "webhook_secret": "whsec_" + "A" * 32,
        "webhook_allow_private": "true",
        "notify": "json://localhost/",
        "payloads": "full",
        "metrics_on_port": "true",
        "project_retention_days": "{shop = 2}",
        "action": "off",
        "tags": '{PII_IP = "off"}',
        "patterns": '{EMPLOYEE_ID = "EMP-[0-9]{6}"}',
        "allow": "*@example.com, 192.0.2.*",
    }
    if key[-1] in words:
        return words[key[-1]]
    found: object = settings
    for name in key:
        found = getattr(found, name)
    return numbers[type(found).__name__]


@given(st.dictionaries(st.text(string.ascii_lowercase + "_", min_size=1), st.integers()))
def test_no_unknown_key_is_ever_taken(tables: dict[str, int]) -> None:
    import tempfile

    known = {"port"}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        toml = "".join(f"{key} = {value}\n" for key, value in tables.items())
        if set(tables) - known:
            refused(home, toml)
        elif all(0 <= value <= 65535 for value in tables.values()):
            assert load(home, toml).port == tables.get("port", 4141)


def test_what_was_loaded_can_not_be_changed(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        load(tmp_path).port = 1  # type: ignore[misc]


def test_loading_makes_no_file(tmp_path: Path) -> None:
    load(tmp_path / "home")
    assert os.listdir(tmp_path) == []


OWN = '[providers.my-vllm]\nwire = "openai"\nbase_url = "http://127.0.0.1:8000"\n'


def test_a_provider_can_be_defined_by_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(OWN)
    settings = load(tmp_path)
    assert settings.own_providers == ("my-vllm",)
    assert settings.provider_names[-1] == "my-vllm" and len(settings.provider_names) == 6
    assert settings.upstream("my-vllm") == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[providers.metrics]\nwire = "openai"\nbase_url = "https://a.example"', "name"),
        ('[providers."A b"]\nwire = "openai"\nbase_url = "https://a.example"', "name"),
        ('[providers.mine]\nwire = "openai"', "base_url is missing"),
        ('[providers.mine]\nwire = "openai"\nbase_url = "http://a.example"', "plain http"),
        (
            '[providers.mine]\nwire = "telnet"\nbase_url = "https://a.example"',
            "[providers.mine] wire: ",
        ),
        ('[providers.mine]\nwire = "telnet"', "one of openai, mistral"),
        ('[providers.mine]\nbase_url = "https://a.example"', "needs wire"),
        ('[providers.mine]\nwire = "openai"\nwired = 1', "did you mean 'wire'"),
        ('[providers.openai]\nwire = "openai"', "providers of your own"),
        ("[providers.groq]\nneeds_key = false", "providers of your own"),
    ],
)
def test_a_provider_that_can_not_be_is_told(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(tmp_path)
    assert words in str(caught.value)
