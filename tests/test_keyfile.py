"""The key file: 0600 at every instant, whole after every change, and silent about values."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from agentwatch.errors import SettingsError, UsageError
from agentwatch.keyfile import KEY_MAX_CHARS, KeyFile, check_provider_key, digest

CANARY = "sk-canary-0123456789"


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "home" / "keys.json")


def test_what_was_set_is_read_again(file: KeyFile) -> None:
    file.set_provider("openai", f" {CANARY}\n", 5.0)
    file.set_provider("xai", "xai-other", 6.0)
    ring = file.read()
    assert ring.providers["openai"].value == CANARY
    assert ring.providers["openai"].set_at == 5.0
    assert ring.providers["xai"].value == "xai-other"


def test_a_key_that_is_set_again_is_replaced(file: KeyFile) -> None:
    file.set_provider("openai", CANARY, 5.0)
    file.set_provider("openai", "sk-new", 6.0)
    assert CANARY not in file.path.read_text()


def test_without_a_file_there_are_no_keys(file: KeyFile) -> None:
    assert file.read().providers == {}
    assert file.remove("openai") is False


def test_only_we_may_read_it_whatever_the_umask(file: KeyFile) -> None:
    before = os.umask(0)
    try:
        file.set_provider("openai", CANARY, 5.0)
    finally:
        os.umask(before)
    for path in file.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_may_read_is_closed(file: KeyFile) -> None:
    file.set_provider("openai", CANARY, 5.0)
    file.path.chmod(0o644)
    file.read()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_an_issued_key_is_kept_as_its_digest_only(file: KeyFile) -> None:
    key = file.issue("ci", 7.0)
    assert key.startswith("awk_")
    assert len(key) >= 4 + 43
    assert key not in file.path.read_text()
    assert file.read().agentwatch["ci"].sha256 == digest(key)
    assert file.issue("other", 7.0) != key


def test_a_name_is_not_issued_twice(file: KeyFile) -> None:
    file.issue("ci", 7.0)
    with pytest.raises(UsageError, match="keys rm ci"):
        file.issue("ci", 8.0)


@pytest.mark.parametrize("name", ["", "a b", "../x", "openai", "-x", "é", "a" * 65, "a\n"])
def test_a_name_that_can_be_mistaken_is_refused(file: KeyFile, name: str) -> None:
    with pytest.raises(UsageError):
        file.issue(name, 7.0)


def test_a_removed_key_is_gone_and_the_others_stay(file: KeyFile) -> None:
    file.set_provider("openai", CANARY, 5.0)
    file.issue("ci", 7.0)
    assert file.remove("ci") is True
    assert file.read().agentwatch == {}
    assert file.read().providers["openai"].value == CANARY
    assert file.remove("openai") is True
    assert CANARY not in file.path.read_text()


@pytest.mark.parametrize(
    "value",
    [
        "",
        " \n",
        "canary\nx-evil: 1",
        "canary\x00",
        "canary key",
        "canäry",
        "canary\x1b[0m",
        "canary" * KEY_MAX_CHARS,
        "aws_canary",
        "awk_canary",
    ],
)
def test_a_key_with_a_newline_splits_the_header(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_provider_key(value)
    assert "can" not in str(caught.value).replace("can't", "")


def test_an_unknown_provider_is_told_the_known_ones(file: KeyFile) -> None:
    with pytest.raises(UsageError, match="anthropic"):
        file.set_provider("opena1", CANARY, 5.0)


@pytest.mark.parametrize(
    "content",
    [f'{{"providers": "{CANARY}"}}', f'{{"providers": {{"openai": {{"value": "{CANARY}', "[]", ""],
)
def test_a_damaged_file_is_reported_without_its_content(file: KeyFile, content: str) -> None:
    file.path.parent.mkdir(mode=0o700)
    file.path.write_text(content)
    with pytest.raises(SettingsError, match="damaged") as caught:
        file.read()
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_file_of_a_newer_version_is_not_overwritten(file: KeyFile) -> None:
    file.path.parent.mkdir(mode=0o700)
    file.path.write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(SettingsError, match="newer"):
        file.set_provider("openai", CANARY, 5.0)
    assert json.loads(file.path.read_text()) == {"schema_version": 2}


def test_a_repr_in_a_traceback_shows_no_key(file: KeyFile) -> None:
    file.set_provider("openai", CANARY, 5.0)
    key = file.issue("ci", 7.0)
    shown = repr(file.read())
    assert CANARY not in shown
    assert digest(key) not in shown


def test_two_who_change_it_at_once_lose_nothing(file: KeyFile) -> None:
    def issue(worker: int) -> None:
        for number in range(5):
            file.issue(f"k{worker}-{number}", 1.0)

    threads = [threading.Thread(target=issue, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.read().agentwatch) == 20


def test_a_file_of_another_user_is_not_trusted(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.set_provider("openai", CANARY, 5.0)
    if os.geteuid() == 0:
        # root's files are everybody's to read
        os.chown(file.path, 12345, 12345)
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    with pytest.raises(SettingsError, match="another user"):
        file.read()
