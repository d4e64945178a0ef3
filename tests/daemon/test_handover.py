"""What a process that serves is handed: once, whole, and as it was when the daemon was started."""

from pathlib import Path

import pytest

from agentwatch.daemon.handover import Handover
from agentwatch.daemonfile import FILE_BYTES, config_files
from agentwatch.errors import SettingsError
from agentwatch.paths import Paths, find_paths
from agentwatch.pricing import load_book
from agentwatch.settings import load_settings

CANARY = "sk-canary-0123456789"


def paths_of(home: Path) -> Paths:
    return find_paths({"AGENTWATCH_HOME": str(home)})


def test_what_is_handed_over_arrives_whole_however_long_the_files(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    paths.config_file.write_bytes(b"#" * FILE_BYTES)
    paths.prices_file.write_bytes(b"#" * FILE_BYTES)
    handover = Handover({"openai": CANARY}, config_files(paths))
    arrived = Handover.from_pipe(handover.to_pipe())
    assert arrived == handover
    assert len(arrived.read(paths.prices_file)) == FILE_BYTES
    assert CANARY not in repr(arrived)


def test_more_than_a_pipe_holds_is_an_error_and_no_hang() -> None:
    with pytest.raises(OSError, match="does not fit"):
        Handover({}, {"/a": b"x" * (2 << 20)}).to_pipe()


def test_a_file_that_is_edited_later_is_read_as_it_was(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    paths.config_file.write_text("[enforcement]\nhold_wait_s = 7\n")
    handover = Handover({}, config_files(paths))
    paths.config_file.write_text("[enforcement]\nhold_wait_s = 70\n")
    paths.prices_file.write_text('[openai."gpt-4o"]\ninput = 0\noutput = 0\n')
    environ = {"AGENTWATCH_HOME": str(tmp_path)}
    settings = load_settings(environ=environ, read=handover.read)
    assert settings.enforcement.hold_wait_s == 7
    book = load_book(None, paths.prices_file, read=handover.read)
    price = book.find("openai", "gpt-4o")
    assert price is not None and price.source != "user"


def test_a_file_that_is_too_long_or_no_file_is_told(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    paths.config_file.write_bytes(b"#" * (FILE_BYTES + 1))
    with pytest.raises(SettingsError, match="longer than"):
        config_files(paths)
    paths.config_file.unlink()
    paths.prices_file.mkdir()
    with pytest.raises(SettingsError, match="can't be read"):
        config_files(paths)
