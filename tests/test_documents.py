"""The pages say what the program does: every key and command, and nothing that is not there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from matrix import PAGE, written

from agentwatch.settings import VARIABLES, Settings, load_settings
from agentwatch.upstreams import PROVIDERS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "systemd").glob("*.md")]
ROW = re.compile(r"^\| `(?P<key>[^`]+)` \| (?P<default>[^|]+) \| `(?P<variable>[^`]+)` \|", re.M)


def test_a_command_that_changed_is_no_other_in_the_reference() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_key_is_documented_with_its_default_and_variable(tmp_path: Path) -> None:
    settings = load_settings(environ={"AGENTWATCH_HOME": str(tmp_path)})
    page = (DOCS / "configuration.md").read_text().partition("## Keys")[2].partition("\n## ")[0]
    told = {row["key"]: (row["default"].strip(), row["variable"]) for row in ROW.finditer(page)}
    assert told == _keys(settings)


def _keys(settings: Settings) -> dict[str, tuple[str, str]]:
    """Key, default and variable as the page writes them; one row for all providers."""
    keys = {}
    for variable, dotted in VARIABLES.items():
        if dotted[0] == "providers":
            if variable.endswith("_UPSTREAM"):
                continue  # a second name of base_url, told in its row
            provider = dotted[1]
            value: Any = getattr(settings.provider(provider), dotted[2])
            key = f"[providers.NAME] {dotted[2]}"
            variable = variable.replace(provider.upper(), "NAME")
        else:
            value = _value(settings, dotted)
            key = f"[{dotted[0]}] {dotted[1]}" if len(dotted) > 1 else dotted[0]
        keys[key] = (_shown(value), variable)
    return keys


def _value(settings: Settings, dotted: tuple[str, ...]) -> Any:
    found: Any = settings
    for name in dotted:
        found = getattr(found, name)
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "unset"
    return f"`{msgspec.json.encode(value).decode()}`"


def test_examples_of_configuration_are_taken(tmp_path: Path) -> None:
    page = (DOCS / "configuration.md").read_text()
    config, prices = re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)
    (tmp_path / "config.toml").write_text(config)
    (tmp_path / "prices.toml").write_text(prices)
    settings = load_settings(environ={"AGENTWATCH_HOME": str(tmp_path)})
    assert settings.port == tomllib.loads(config)["port"]
    from agentwatch.pricing import load_book

    book = load_book(None, settings.paths.prices_file)
    assert book.find("openai", "my-model") is not None


def test_all_five_providers_are_named() -> None:
    page = (DOCS / "configuration.md").read_text()
    assert all(f"`{provider}`" in page for provider in PROVIDERS)


def test_the_matrix_that_is_shown_is_the_one_that_is_tested() -> None:
    page = PAGE.read_text()
    assert written(page) == page, "python tests/matrix.py writes it anew"


def test_no_link_leads_nowhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_what_readme_types_is_there() -> None:
    """Every `agentwatch …` line of the pages names a command and options that --help knows."""
    reference = (DOCS / "cli-reference.md").read_text()
    commands = set(re.findall(r"^#+ `agentwatch ([a-z ]+)`$", reference, re.M))
    unknown = []
    for page in PAGES:
        for line in re.findall(r"^(?:\$ )?agentwatch ([a-z].*)$", page.read_text(), re.M):
            words = line.split(" -- ")[0].split("#")[0].split()
            name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
            options = [word for word in words if word.startswith("--")]
            help_text = reference.partition(f"# `agentwatch {name}`\n")[2].partition("\n#")[0]
            if name not in commands or any(option not in help_text for option in options):
                unknown.append(f"{page.relative_to(ROOT)}: {line}")
    assert unknown == []


def test_make_knows_the_targets_that_the_pages_name() -> None:
    targets = set(re.findall(r"^\.PHONY: ([\w-]+)", (ROOT / "Makefile").read_text(), re.M))
    named = {name for page in PAGES for name in re.findall(r"`?make ([\w-]+)`", page.read_text())}
    assert named <= targets
    assert "make test" in (ROOT / ".ci/run").read_text()
