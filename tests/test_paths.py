"""Paths: one home, one place; and nobody else in it."""

import os
import socket
from dataclasses import fields
from pathlib import Path

import pytest

from agentwatch.errors import SettingsError
from agentwatch.paths import SOCKET_PATH_LIMIT, find_paths, private_folder, write_private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_home_holds_everything(tmp_path: Path) -> None:
    paths = find_paths({"AGENTWATCH_HOME": str(tmp_path)})
    files = [
        getattr(paths, name)
        for name in (each.name for each in fields(paths))
        if name != "socket_moved"
    ]
    assert all(path == tmp_path or tmp_path in path.parents for path in files)


def test_without_a_home_the_platform_s_folders_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    paths = find_paths({"XDG_RUNTIME_DIR": str(runtime)})
    assert paths.config_file == tmp_path / "CONFIG/agentwatch/config.toml"
    assert paths.ledger == tmp_path / "STATE/agentwatch/ledger.sqlite3"
    assert paths.socket == runtime / "agentwatch/agentwatch.sock"


def test_a_runtime_folder_that_others_may_write_is_not_trusted(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    runtime.chmod(0o777)
    assert runtime not in find_paths({"XDG_RUNTIME_DIR": str(runtime)}).socket.parents


def test_a_home_too_deep_for_a_socket_gets_a_short_one_of_its_own(tmp_path: Path) -> None:
    deep = [str(tmp_path / name / ("d" * SOCKET_PATH_LIMIT)) for name in "ab"]
    one, other = (find_paths({"AGENTWATCH_HOME": home}) for home in deep)
    assert one.socket_moved
    assert len(os.fsencode(one.socket)) <= SOCKET_PATH_LIMIT
    assert one.socket != other.socket
    assert find_paths({"AGENTWATCH_HOME": deep[0]}).socket == one.socket


def test_the_longest_path_that_we_allow_can_be_bound(tmp_path: Path) -> None:
    path = tmp_path / ("s" * (SOCKET_PATH_LIMIT - len(os.fsencode(tmp_path)) - 1))
    assert find_paths({"AGENTWATCH_SOCKET": str(path)}).socket == path
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def test_a_socket_that_can_not_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="AGENTWATCH_SOCKET"):
        find_paths({"AGENTWATCH_SOCKET": str(tmp_path / ("s" * SOCKET_PATH_LIMIT))})


def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        find_paths({"AGENTWATCH_HOME": str(tmp_path / "home")}).prepare()
    finally:
        os.umask(before)
    assert mode(tmp_path / "home") == 0o700
    assert mode(tmp_path / "home" / "cache") == 0o700


@pytest.mark.parametrize("files", [(), ("config.toml", "notes"), ("keys.json",)])
def test_a_home_of_ours_that_is_open_is_closed(tmp_path: Path, files: tuple[str, ...]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    for name in files:
        (home / name).touch()
    private_folder(home)
    assert mode(home) == 0o700


def test_a_home_that_is_somebody_s_shared_folder_is_not_closed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "theirs").touch()
    with pytest.raises(SettingsError, match="chmod 700"):
        private_folder(shared)
    assert mode(shared) == 0o777


def test_a_file_in_the_place_of_the_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    for folder in (tmp_path / "home", tmp_path / "home" / "below"):
        with pytest.raises(SettingsError, match="not a folder"):
            private_folder(folder)


def test_a_home_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    with pytest.raises(SettingsError, match="another user"):
        private_folder(tmp_path)


def test_a_home_in_which_only_prices_were_looked_at_is_closed(tmp_path: Path) -> None:
    (tmp_path / "home" / "cache").mkdir(parents=True)
    (tmp_path / "home").chmod(0o755)
    private_folder(tmp_path / "home")
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_private(path, b"old")
    with pytest.raises(TypeError):
        write_private(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["keys.json"]
