"""A program whose calls are all refused was governed: `run` must not say that nothing was seen."""

from __future__ import annotations

import sys

import pytest
from harness import Daemon, chat

CALL = """
import http.client, os, sys
from urllib.parse import urlsplit
base = urlsplit(os.environ["OPENAI_BASE_URL"])
line = http.client.HTTPConnection(base.hostname, base.port, timeout=30)
key = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
line.request("POST", base.path + sys.argv[1], sys.argv[2], key)
print(line.getresponse().status)
"""
UNPRICED = '{"model": "nobody-knows-it", "messages": []}'


@pytest.mark.parametrize(
    ("path", "body"),
    [("/chat/completions", UNPRICED), ("/chat/completions", "no JSON"), ("/files", "{}")],
)
def test_refused_calls_are_counted_whatever_they_were_refused_for(daemon: Daemon, path, body):
    wrapped = ["run", "--budget", "1", "--", sys.executable, "-c", CALL, path, body]
    done = daemon.command(*wrapped)
    assert done.stdout.strip() == "400", done.stderr
    assert "0 calls" in done.stderr and "1 refused" in done.stderr
    assert "nothing was governed" not in done.stderr


def test_a_web_socket_that_is_not_taken_is_no_refusal_to_worry_about(daemon: Daemon):
    agent = daemon.open(1.0)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    assert agent.post("/responses", chat(), upgrade).status == 426
    assert agent.show()["refusals"] == 0


def test_a_key_that_only_the_users_shell_has_is_told_before_the_first_call(start_daemon):
    daemon = start_daemon()
    daemon.down()
    del daemon.environ["ANTHROPIC_API_KEY"]
    daemon.up()
    daemon.environ["ANTHROPIC_API_KEY"] = "sk-of-the-users"
    done = daemon.command("run", "--budget", "1", "--", "true")
    assert "printenv ANTHROPIC_API_KEY | agentwatch keys set anthropic" in done.stderr
    assert "sk-of-the-users" not in done.stderr
