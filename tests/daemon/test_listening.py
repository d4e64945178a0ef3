"""The listening sockets: only ours, only here, never wider than 0600, and never taken away."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agentwatch.daemon.listening import open_listening
from agentwatch.errors import AgentWatchError, SettingsError


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def test_both_are_open_and_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        listening = open_listening(0, tmp_path / "s")
    finally:
        os.umask(before)
    assert listening.port_socket.getsockname()[0] == "127.0.0.1"
    assert listening.port > 0
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    socket.create_connection(("127.0.0.1", listening.port)).close()
    assert connects(tmp_path / "s")
    listening.close()
    assert not (tmp_path / "s").exists()


def test_a_socket_that_nobody_serves_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    listening = open_listening(0, tmp_path / "s")
    assert connects(tmp_path / "s")
    listening.close()


def test_two_homes_on_one_socket_do_not_take_it_from_each_other(tmp_path: Path) -> None:
    first = open_listening(0, tmp_path / "s")
    with pytest.raises(SettingsError, match="another daemon"):
        open_listening(0, tmp_path / "s")
    assert connects(tmp_path / "s")
    first.close()


def test_a_file_in_the_socket_s_place_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(SettingsError, match="no socket"):
        open_listening(0, tmp_path / "s")
    assert (tmp_path / "s").read_text() == "precious"


def test_a_port_that_is_taken_is_told_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        with pytest.raises(AgentWatchError, match=f"port {number} is taken.*--port"):
            open_listening(number, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_the_runtime_folder_that_went_with_the_last_login(tmp_path: Path) -> None:
    listening = open_listening(0, tmp_path / "s")
    assert listening.keep_reachable() is False
    (tmp_path / "s").unlink()
    assert listening.keep_reachable() is True
    assert connects(tmp_path / "s")
    listening.close()


SYSTEMD = """
import os, socket, sys
from pathlib import Path
from agentwatch.daemon.listening import open_listening
host, folder = sys.argv[1:]
unix = socket.socket(socket.AF_UNIX); unix.bind(folder + "/given"); unix.listen()
port = socket.create_server((host, 0))
os.dup2(unix.fileno(), 10); os.dup2(port.fileno(), 11)
unix.close(); port.close()
os.dup2(10, 3); os.dup2(11, 4)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
listening = open_listening(0, Path(folder) / "own")
assert listening.unix_socket.fileno() == 3 and listening.port_socket.fileno() == 4
assert str(listening.path) == folder + "/given"
assert not any(name.startswith("LISTEN_") for name in os.environ)
assert not os.get_inheritable(3)
assert listening.keep_reachable() is False
listening.close()
assert os.path.exists(folder + "/given") and not os.path.exists(folder + "/own")
"""


def systemd(host: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", SYSTEMD, host, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


def test_systemd_s_sockets_are_taken_and_its_file_left(tmp_path: Path) -> None:
    done = systemd("127.0.0.1", tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_socket_unit_that_opens_the_port_to_the_network(tmp_path: Path) -> None:
    assert "other machines could call" in systemd("0.0.0.0", tmp_path).stderr


def test_another_process_s_sockets_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "2")
    listening = open_listening(0, tmp_path / "s")
    assert connects(tmp_path / "s")
    listening.close()
