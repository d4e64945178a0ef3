"""The units: systemd understands them, and they mean what the supervisor expects."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agentwatch.paths import find_paths

UNITS = Path(__file__).parent.parent / "systemd"


def read(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",)
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((UNITS / name).read_text())
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize(
    "command",
    [
        ["verify", "system/agentwatch.service"],
        ["--user", "verify", "user/agentwatch.service", "user/agentwatch.socket"],
    ],
)
def test_systemd_has_nothing_to_say_against_them(tmp_path: Path, command: list[str]) -> None:
    program = tmp_path / ".local/bin/agentwatch"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    env = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        ["systemd-analyze", *command],
        cwd=UNITS,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_socket_unit_opens_what_clients_look_for(tmp_path: Path) -> None:
    text = (UNITS / "user/agentwatch.socket").read_text()
    streams = [line.partition("=")[2] for line in text.splitlines() if "ListenStream" in line]
    tmp_path.chmod(0o700)
    paths = find_paths({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert streams == ["127.0.0.1:4141", f"%t/{paths.socket.relative_to(tmp_path)}"]
    assert read("user/agentwatch.socket")["Socket"]["SocketMode"] == "0600"


@pytest.mark.parametrize("unit", ["user/agentwatch.service", "system/agentwatch.service"])
def test_a_wrong_configuration_is_not_started_for_ever(unit: str) -> None:
    service = read(unit)["Service"]
    assert service["Type"] == "notify"
    assert service["RestartPreventExitStatus"] == "78"
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > 30 + 3
    assert service["ExecStart"].endswith("up --foreground")
