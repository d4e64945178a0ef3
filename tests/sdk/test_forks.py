"""Forks of programs whose other threads are in the middle of a call."""

from __future__ import annotations

import subprocess
import sys

from harness import Daemon

CODE = """
import agentwatch, os, threading
client = agentwatch.WatchedOpenAI(agentwatch_session_id="held-at-fork", max_retries=0)
locks = [client.agentwatch_session._lock, client._client._transport._lock]
held, forked = threading.Event(), threading.Event()
def hold():
    with locks[0], locks[1]:
        held.set()
        forked.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role":"user","content":"hi"}])
    os._exit(0)
forked.set()
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_fork_hangs_on_a_lock_that_another_thread_held(beside: Daemon) -> None:
    environ = {**beside.environ, "OPENAI_API_KEY": ""}
    subprocess.run([sys.executable, "-c", CODE], env=environ, check=True, timeout=60)
    assert beside.get("/v1/sessions/held-at-fork")["iterations"] == 1
