"""The wrapped command's environment: governed base URLs, and no way to a real key."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch_cli.run_environment import (
    TAKEN_OUT,
    Access,
    adapt_command,
    changes,
    child_environment,
    missing_keys,
    no_proxy,
    write_gemini_settings,
)

ACCESS = Access("s-1", "aws_token", "http://127.0.0.1:4141", "/run/aw.sock", "/home/u/aw")
KEY = "sk-a-real-key-of-the-user"


def _made(environ, tmp_path):
    return child_environment(environ, ACCESS, tmp_path / "gemini.json")


def test_all_variables_of_the_five_providers_are_set(tmp_path):
    variables = _made({"PATH": "/bin"}, tmp_path).variables
    origin = "http://127.0.0.1:4141"
    assert variables == {
        "PATH": "/bin",
        "OPENAI_BASE_URL": f"{origin}/openai/v1",
        "OPENAI_API_BASE": f"{origin}/openai/v1",
        "OPENAI_API_KEY": "aws_token",
        "ANTHROPIC_BASE_URL": f"{origin}/anthropic",
        "ANTHROPIC_API_BASE": f"{origin}/anthropic",
        "ANTHROPIC_API_KEY": "aws_token",
        "GROQ_BASE_URL": f"{origin}/groq",
        "GROQ_API_BASE": f"{origin}/groq/openai/v1",
        "GROQ_API_KEY": "aws_token",
        "XAI_API_BASE": f"{origin}/xai/v1",
        "XAI_API_KEY": "aws_token",
        "GOOGLE_GEMINI_BASE_URL": f"{origin}/gemini",
        "GEMINI_API_BASE": f"{origin}/gemini",
        "GEMINI_API_KEY": "aws_token",
        "GOOGLE_API_KEY": "aws_token",
        "GEMINI_CLI_SYSTEM_SETTINGS_PATH": str(tmp_path / "gemini.json"),
        "GEMINI_CLI_HOME": str(tmp_path / "gemini-home"),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "AGENTWATCH_SESSION_ID": "s-1",
        "AGENTWATCH_SESSION_TOKEN": "aws_token",
        "AGENTWATCH_SOCKET": "/run/aw.sock",
        "AGENTWATCH_HOME": "/home/u/aw",
    }


@pytest.mark.parametrize("name", sorted(TAKEN_OUT))
def test_a_real_key_goes_out_wherever_else_it_is_written(name, tmp_path):
    environ = {name: KEY, "COPY": KEY, "HEADERS": f'{{"Authorization": "Bearer {KEY}"}}'}
    made = _made(environ, tmp_path)
    assert KEY not in json.dumps(made.variables)
    assert made.also_taken_out == ["COPY", "HEADERS"]


@pytest.mark.parametrize(
    "value",
    [
        "sk-proj-" + "a1B2" * 10,
        "sk-ant-api03-" + "a1B2" * 10,
        "gsk_" + "a1B2" * 13,
        "xai-" + "a1B2" * 20,
        "awk_" + "a1B2" * 10,
    ],
)
def test_what_can_only_be_a_key_goes_out_under_any_name(value, tmp_path):
    made = _made({"MINE": value}, tmp_path)
    assert "MINE" not in made.variables


@pytest.mark.parametrize("value", ["xai-grok-4-fast-reasoning-latest", "sk_live_x", "sk-or-v1-abc"])
def test_what_is_no_key_of_a_governed_provider_stays(value, tmp_path):
    assert _made({"MINE": value}, tmp_path).variables["MINE"] == value


def test_a_word_in_a_keys_place_takes_nothing_else_out(tmp_path):
    environ = {"OPENAI_API_KEY": "test", "STAGE": "test", "EMPTY": ""}
    assert _made(environ, tmp_path).also_taken_out == []


def test_agentwatch_keys_and_addresses_of_ours_stay_outside(tmp_path):
    environ = {
        "AGENTWATCH_API_KEY": "awk_secret",
        "AGENTWATCH_STATE_URL": "redis://:pw@h",
        "ANTHROPIC_UNIX_SOCKET": "/run/s",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_USE_VERTEX": "1",
    }
    variables = _made(environ, tmp_path).variables
    assert not environ.keys() & variables.keys()


def test_the_proxys_exceptions_grow_and_lose_nothing():
    assert no_proxy({"NO_PROXY": "corp, localhost"}) == {
        "NO_PROXY": "corp,localhost,127.0.0.1",
        "no_proxy": "corp,localhost,127.0.0.1",
    }
    assert no_proxy({"no_proxy": "*"})["NO_PROXY"] == "*"


def test_codex_gets_its_base_url_by_argument_as_it_reads_no_variable():
    variables = {"OPENAI_BASE_URL": "http://h/openai/v1", "OPENAI_API_KEY": "aws_t"}
    argv, environment, warning = adapt_command(["/usr/bin/codex", "exec", "hi"], variables)
    setting = 'openai_base_url="http://h/openai/v1"'
    no_search = 'web_search="disabled"'
    assert argv == ["/usr/bin/codex", "-c", setting, "-c", no_search, "exec", "hi"]
    assert environment["CODEX_API_KEY"] == "aws_t"
    assert warning is None
    assert "CODEX_API_KEY" not in variables


@pytest.mark.parametrize(
    "given",
    [
        ["-c", "openai_base_url=x"],
        ["--config", "openai_base_url=x"],
        ["--config=openai_base_url=x"],
        ["-copenai_base_url=x"],
    ],
)
def test_a_base_url_that_the_user_gave_codex_is_not_overridden_silently(given):
    command = ["codex", "exec", *given]
    argv, _, warning = adapt_command(command, {"OPENAI_API_KEY": "t", "OPENAI_BASE_URL": "u"})
    assert argv == command
    assert "not governed" in (warning or "")


@pytest.mark.parametrize(
    "given", [["--search"], ["-c", 'web_search="live"'], ["--config=tools.web_search=true"]]
)
def test_a_search_that_the_user_asked_of_codex_is_not_taken_from_him_silently(given):
    variables = {"OPENAI_BASE_URL": "u", "OPENAI_API_KEY": "t"}
    argv, _, _ = adapt_command(["codex", *given, "exec"], variables)
    assert argv == ["codex", "-c", 'openai_base_url="u"', *given, "exec"]


def test_a_key_that_only_the_shell_has_is_told_before_the_program_fails_for_it():
    (words,) = missing_keys({"OPENAI_API_KEY": "sk-x"}, ["anthropic"])
    assert "printenv OPENAI_API_KEY | agentwatch keys set openai" in words
    assert "sk-x" not in words
    assert missing_keys({"OPENAI_API_KEY": "sk-x"}, ["openai"]) == []
    assert missing_keys({"OPENAI_API_KEY": " "}, ["groq"]) == []
    assert len(missing_keys({"GOOGLE_API_KEY": "k", "GEMINI_API_KEY": "k"}, ["openai"])) == 1


def test_a_token_of_ours_in_a_shell_is_not_taken_for_the_users_key():
    inside = {"ANTHROPIC_API_KEY": "aws_token", "OPENAI_API_KEY": "awk_key"}
    assert missing_keys(inside, ["groq"]) == []


def test_a_daemon_without_any_key_is_told():
    (words,) = missing_keys({}, [])
    assert "agentwatch keys set openai" in words


def test_other_programs_are_left_as_they_are():
    argv, environment, warning = adapt_command(["python", "codex"], {"A": "b"})
    assert (argv, environment, warning) == (["python", "codex"], {"A": "b"}, None)


def test_the_gemini_settings_are_private_and_keep_what_the_user_set(tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text('{"security": {"auth": {"x": 1}, "y": 2}, "ui": 3}')
    environ = {"GEMINI_CLI_SYSTEM_SETTINGS_PATH": str(mine), "HOME": str(tmp_path / "nobody")}
    path = write_gemini_settings(tmp_path, environ)
    auth = {"x": 1, "selectedType": "gemini-api-key"}
    assert json.loads(path.read_text()) == {"security": {"auth": auth, "y": 2}, "ui": 3}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    mine.write_text("not json")
    again = write_gemini_settings(tmp_path, environ)
    assert json.loads(again.read_text())["security"]["auth"]["selectedType"] == "gemini-api-key"
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"mine.json", "gemini-cli.json", "gemini-home"}


def test_a_user_who_is_not_root_is_not_asked_for_another_way_to_log_in(tmp_path):
    """From 0.61 on the Gemini CLI takes system settings from files of root's alone."""
    own = tmp_path / "user" / ".gemini"
    own.mkdir(parents=True)
    (own / "settings.json").write_text('{"ui": 3, "security": {"auth": {"selectedType": "x"}}}')
    (own / "GEMINI.md").write_text("mine")
    write_gemini_settings(tmp_path, {"HOME": str(tmp_path / "user")})
    home = tmp_path / "gemini-home" / ".gemini"
    told = json.loads((home / "settings.json").read_text())
    assert told == {"ui": 3, "security": {"auth": {"selectedType": "gemini-api-key"}}}
    assert (home / "GEMINI.md").read_text() == "mine"
    assert "gemini-api-key" not in (own / "settings.json").read_text()
    (own / "GEMINI.md").unlink()
    (own / "new.json").write_text("{}")
    # from inside a wrapped session, its own home is the user's
    write_gemini_settings(tmp_path, {"GEMINI_CLI_HOME": str(tmp_path / "gemini-home")})
    write_gemini_settings(tmp_path, {"HOME": str(tmp_path / "user")})
    assert {file.name for file in home.iterdir()} == {"settings.json", "new.json"}


NAMES = st.sampled_from([*sorted(TAKEN_OUT), "A", "B", "PATH", "AGENTWATCH_X"])


@given(st.dictionaries(NAMES, st.text(min_size=12, max_size=20)))
def test_no_value_of_a_taken_out_variable_is_left(environ):
    made = child_environment(environ, ACCESS, Path("/g"))
    secrets = [v.strip() for k, v in environ.items() if k in TAKEN_OUT and len(v.strip()) >= 12]
    own = child_environment({}, ACCESS, Path("/g")).variables
    rest = [value for name, value in made.variables.items() if name not in own]
    assert not [s for s in secrets for value in rest if s in value]


@given(st.dictionaries(NAMES, st.text()), st.dictionaries(NAMES, st.text()))
def test_changes_lead_from_one_environment_to_the_other(environ, wanted):
    to_set, to_unset = changes(environ, wanted)
    result = {**environ, **to_set}
    for name in to_unset:
        del result[name]
    assert result == wanted
