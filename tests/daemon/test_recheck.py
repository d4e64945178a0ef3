"""A configuration that is wrong for the daemon alone: who restarts it hears of it; it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Daemon, chat, environment, running

from agentwatch.daemon import recheck
from agentwatch.errors import Refusal
from agentwatch.standin.process import StandinProcess

VARIABLE = "AGENTWATCH_ALERTS_WEBHOOK_URL"


@pytest.fixture
def daemon(home: Path, standin: StandinProcess) -> Iterator[Daemon]:
    """A daemon that was started with a variable that is only right beside its config.toml."""
    allow(home, "true")
    environ = environment(home, standin) | {VARIABLE: "http://127.0.0.1:9/hook"}
    with running(Daemon(home, environ)) as made:
        yield made


def allow(home: Path, said: str) -> None:
    (home / "config.toml").write_text(f"[alerts]\nwebhook_allow_private = {said}\n")


def test_a_restart_reports_success_where_the_daemon_went_back_to_its_old_configuration(
    daemon: Daemon, home: Path
) -> None:
    # whoever types `restart` has not got the variable
    del daemon.environ[VARIABLE]
    agent, pid = daemon.open(1.0), daemon.pid
    allow(home, "false")
    told = daemon.command("restart")
    assert (told.returncode, told.stdout) == (1, "")
    assert "in the daemon's own environment: " in told.stderr
    assert "webhook" in told.stderr and "old configuration" in told.stderr
    assert daemon.pid == pid
    assert agent.post(body=chat()).status == 200
    allow(home, "true")
    told = daemon.command("restart")
    assert (told.returncode, "replaced" in told.stderr) == (0, True)
    assert daemon.pid != pid


async def test_a_look_that_hangs_keeps_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recheck, "_COMMAND", ("sleep", "60"))
    monkeypatch.setattr(recheck, "LIMIT_S", 0.1)
    async with asyncio.timeout(30):
        with pytest.raises(Refusal, match="could not be looked at in time"):
            await recheck.check_configuration()
