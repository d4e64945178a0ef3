"""aw-sdk 1.0.1 as it is published, against our daemon: its checks, its records, its stop."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Daemon, nanos, wait_until

from agentwatch.standin.process import StandinProcess

pytestmark = pytest.mark.clients

KEY = "awk_of-the-old-client"
#: asks on until its own check stops it; what it has not reported yet is not known to the check
PROGRAM = """
import sys, time
from agentwatch import AgentBudgetExceeded, WatchedOpenAI
key, upstream, port = sys.argv[1:]
client = WatchedOpenAI(
    api_key=key, base_url=upstream, agentwatch_api_key="awk_of-the-old-client",
    agentwatch_project="old", agentwatch_session_id="old-run",
    agentwatch_session_budget_usd=0.0001, agentwatch_enforcement_mode=True,
    agentwatch_enforcement_fail_open=False, ingest_url=f"http://127.0.0.1:{port}/v1/ingest",
)
for number in range(100):
    try:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])
    except AgentBudgetExceeded as error:
        print("stopped", number, error.spent, error.limit)
        break
    time.sleep(0.2)
"""


def test_the_old_client_is_stopped_and_charged(
    client: Callable[[str], Path],
    start_daemon: Callable[..., Daemon],
    standin: StandinProcess,
    tmp_path: Path,
) -> None:
    daemon = start_daemon(api_key=KEY)
    (tmp_path / "old.py").write_text(PROGRAM)
    command = [client("awsdk") / "python", "-I", tmp_path / "old.py"]
    done = subprocess.run(
        [*command, standin.key, standin.url, str(daemon.port)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stopped"), done.stdout
    billed = standin.bill()["billed_nanos"]
    wait_until(lambda: nanos(daemon.get("/v1/sessions/old-run")["settled_usd"]) == billed)
    shown = daemon.get("/v1/sessions/old-run")
    assert (shown["project"], shown["iterations"]) == ("old", standin.bill()["requests"])
