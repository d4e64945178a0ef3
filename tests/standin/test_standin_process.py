"""The stand-in as a child: it starts, tells, and is gone when it is told to stop."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest

from agentwatch.daemon.hygiene import KEY_VARIABLES
from agentwatch.standin.__main__ import exports
from agentwatch.standin.process import StandinProcess
from agentwatch.upstreams import PROVIDERS


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_bill_on_disk_is_complete_when_the_process_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    with StandinProcess(bill=path, script="tokens=2", key="other-key") as standin:
        with openai.OpenAI(base_url=standin.url, api_key="other-key") as sdk:
            sdk.responses.create(model="gpt-5-mini", input="hello")
        told = standin.bill()["billed_nanos"]
        pid = standin.pid
    standin.stop()
    (row,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert row["nanos"] == told > 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_does_not_outlive_a_test_run_that_was_killed() -> None:
    code = (
        "import os; from agentwatch.standin.process import StandinProcess\n"
        "print(StandinProcess().port, flush=True); os._exit(9)"
    )
    told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    give_up = time.monotonic() + 5
    while listens(int(told.stdout)):
        assert time.monotonic() < give_up, "it is still there"
        time.sleep(0.01)


def test_a_script_that_can_not_be_read_is_no_silent_default() -> None:
    with pytest.raises(RuntimeError, match="exit code 2"):
        StandinProcess(script="tockens=3")


def test_it_shares_no_code_with_what_it_checks() -> None:
    code = (
        "import sys, agentwatch.standin.__main__, agentwatch.standin.server\n"
        "print([m for m in sys.modules if m.startswith('agentwatch.')"
        " and not m.startswith('agentwatch.standin')])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_what_it_tells_to_export_reaches_it_as_each_provider() -> None:
    with StandinProcess() as standin:
        lines = exports(f"http://127.0.0.1:{standin.port}", standin.key)
        told = dict(word.split("=", 1) for line in lines for word in line.split()[1:])
        for name in PROVIDERS:
            assert told[f"AGENTWATCH_{name.upper()}_UPSTREAM"] == standin.of(name)
            assert told[KEY_VARIABLES[name][0]] == standin.key
