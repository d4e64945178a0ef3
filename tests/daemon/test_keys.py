"""Keys in the daemon: who wins, when a change is seen, and what is never shown."""

import logging
import os
from pathlib import Path

import pytest

from agentwatch.daemon.keys import (
    ENVIRONMENT_KEY,
    RECHECK_S,
    Keys,
)
from agentwatch.keyfile import KeyFile

CANARY = "sk-canary-0123456789"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


def credential(tmp_path: Path, name: str, value: str) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(value)
    return folder


def test_handed_over_beats_credential_beats_file(path: Path, tmp_path: Path) -> None:
    for name in ("openai", "xai", "groq"):
        KeyFile(path).set_provider(name, f"file-{name}", 1.0)
    folder = credential(tmp_path, "openai", "credential-openai\n")
    credential(tmp_path, "xai", "credential-xai\n")
    keys = Keys(path, {"openai": "handed-openai"}, folder)
    assert keys.provider("openai") == "handed-openai"
    assert keys.provider("xai") == "credential-xai"
    assert keys.provider("groq") == "file-groq"
    assert keys.provider("gemini") is None
    assert keys.providers() == ["openai", "groq", "xai"]


def test_a_key_that_is_set_later_is_used_within_a_second(path: Path) -> None:
    clock = Clock()
    keys = Keys(path, clock=clock)
    KeyFile(path).set_provider("openai", "one", 1.0)
    clock.now += RECHECK_S
    assert keys.provider("openai") == "one"
    KeyFile(path).set_provider("openai", "two", 2.0)
    assert keys.provider("openai") == "one"
    clock.now += RECHECK_S
    assert keys.provider("openai") == "two"
    KeyFile(path).remove("openai")
    clock.now += RECHECK_S
    assert keys.provider("openai") is None


def test_looking_up_does_not_touch_the_disk_more_than_once_a_second(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    keys = Keys(path, clock=clock)
    looked: list[None] = []
    monkeypatch.setattr(keys, "_stat", lambda: looked.append(None))
    for _ in range(10):
        clock.now += RECHECK_S / 5
        keys.provider("openai")
        keys.agentwatch_key("awk_x")
    assert len(looked) == 2


def test_a_file_that_breaks_leaves_the_last_good_keys(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    KeyFile(path).set_provider("openai", CANARY, 1.0)
    keys = Keys(path, clock=clock)
    path.write_text(f'{{"providers": {{"openai": "{CANARY}"')
    clock.now += RECHECK_S
    assert keys.provider("openai") == CANARY
    assert "damaged" in caplog.text
    assert CANARY not in caplog.text


def test_an_issued_key_is_known_by_its_name(path: Path) -> None:
    key = KeyFile(path).issue("ci", 1.0)
    keys = Keys(path)
    assert keys.agentwatch_key(key) == "ci"
    for wrong in ("", key[:-1], key + "x", key.upper(), "awk_", "ci", "\udcff", "é"):
        assert keys.agentwatch_key(wrong) is None


def test_the_environment_s_key_is_one_more(path: Path) -> None:
    issued = KeyFile(path).issue("ci", 1.0)
    keys = Keys(path, {"agentwatch": "awk_of-the-environment"})
    assert keys.agentwatch_key("awk_of-the-environment") == ENVIRONMENT_KEY
    assert keys.agentwatch_key(issued) == "ci"


def test_a_removed_agentwatch_key_is_refused(path: Path) -> None:
    clock = Clock()
    key = KeyFile(path).issue("ci", 1.0)
    keys = Keys(path, clock=clock)
    assert keys.agentwatch_key(key) == "ci"
    KeyFile(path).remove("ci")
    clock.now += RECHECK_S
    assert keys.agentwatch_key(key) is None


@pytest.mark.parametrize("guessable", ["", "x", "secret", "with\nnewline-and-more"])
def test_an_environment_s_key_that_can_be_guessed_is_none(path: Path, guessable: str) -> None:
    assert Keys(path, {"agentwatch": guessable}).agentwatch_key(guessable) is None


def test_a_session_token_is_taken_for_a_provider_s_key(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A daemon that is started inside a wrapped session finds the session's token there."""
    token = "aws_canary-token"
    KeyFile(path).set_provider("openai", "real", 1.0)
    with caplog.at_level(logging.WARNING):
        keys = Keys(path, {"openai": token})
    assert keys.provider("openai") == "real"
    assert token not in caplog.text


def test_nothing_that_is_printed_of_it_shows_a_value(path: Path, tmp_path: Path) -> None:
    KeyFile(path).set_provider("groq", CANARY, 1.0)
    keys = Keys(path, {"openai": CANARY}, credential(tmp_path, "xai", CANARY))
    assert CANARY not in repr(keys)
    assert keys.values().count(CANARY) == 3


def test_a_replaced_file_of_the_same_size_and_time_is_seen(path: Path) -> None:
    clock = Clock()
    file = KeyFile(path)
    file.set_provider("openai", "one", 1.0)
    os.utime(path, ns=(0, 0))
    keys = Keys(path, clock=clock)
    file.set_provider("openai", "two", 1.0)
    os.utime(path, ns=(0, 0))
    clock.now += RECHECK_S
    assert keys.provider("openai") == "two"
