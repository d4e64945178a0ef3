"""The people's door: every row of the contract's table, and who may not use it.

From the data port only what needs no authority is served; from inside a wrapped session only its
own session can be read, opened again and given less.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from harness import Agent, Daemon, chat, wait_until
from harness import _UnixConnection as UnixConnection

SESSION_FIELDS = {
    "session_id",
    "state",
    "mode",
    "project",
    "team",
    "budget_usd",
    "settled_usd",
    "held_usd",
    "remaining_usd",
    "overdraft_usd",
    "iterations",
    "input_tokens",
    "output_tokens",
    "prompt_tokens_window",
    "models",
    "risks",
    "alerts",
    "opened_at",
    "last_call_at",
}


def code(told: dict[str, Any]) -> str:
    return str(told["error"]["code"])


def on_port(
    daemon: Daemon, method: str, path: str, key: str = "", body: Any = None
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


# ---- rows and shapes


def test_a_session_is_opened_once_and_never_raised_by_opening_it(daemon: Daemon) -> None:
    first = daemon.call(
        "POST", "/v1/sessions", {"session_id": "rows-1", "budget_usd": 1.5, "project": "p"}
    )
    assert SESSION_FIELDS | {"token", "schema_version"} <= set(first)
    assert (first["budget_usd"], first["state"], first["mode"]) == (1.5, "active", "enforce")
    again = daemon.call("POST", "/v1/sessions", {"session_id": "rows-1", "budget_usd": 99})
    assert again["budget_usd"] == 1.5
    assert again["token"] != first["token"]
    lower = daemon.call("POST", "/v1/sessions", {"session_id": "rows-1", "budget_usd": 0.5})
    assert lower["budget_usd"] == 0.5
    looser = daemon.call("POST", "/v1/sessions", {"session_id": "rows-1", "mode": "observe"})
    assert looser["mode"] == "enforce"
    shown = daemon.get("/v1/sessions/rows-1")
    assert "token" not in shown and set(shown) >= SESSION_FIELDS
    listed = daemon.get("/v1/sessions")
    assert listed["schema_version"] == 1
    assert "rows-1" in [row["session_id"] for row in listed["sessions"]]


def test_states_go_as_they_say_and_a_killed_session_stays_killed(daemon: Daemon) -> None:
    agent = daemon.open(1.0)
    path = f"/v1/sessions/{agent.id}"
    for verb, state in (
        ("pause", "paused"),
        ("pause", "paused"),
        ("resume", "active"),
        ("kill", "killed"),
        ("kill", "killed"),
    ):
        assert daemon.call("POST", f"{path}/{verb}")["state"] == state
    assert code(daemon.call("POST", f"{path}/resume", check=False)) == "conflict"
    assert agent.post().denied == "session_killed"
    told = daemon.get(f"{path}/events")["events"]
    assert [event["state"] for event in told if event["kind"] == "state"] == [
        "paused",
        "active",
        "killed",
    ]


def test_a_budget_above_the_session_is_set_and_shown(daemon: Daemon) -> None:
    told = daemon.call("PUT", "/v1/budgets/project:web%20shop", {"monthly_usd": 500})
    assert (told["name"], told["monthly_usd"]) == ("project:web shop", 500)
    assert "project:web shop" in [row["name"] for row in daemon.get("/v1/budgets")["budgets"]]
    assert (
        daemon.call("PUT", "/v1/budgets/project:web%20shop", {"monthly_usd": None})["monthly_usd"]
        is None
    )


def test_status_tells_who_serves(daemon: Daemon) -> None:
    told = daemon.get("/v1/status")
    wanted = {"running", "pid", "port", "socket", "version", "state_url", "started_at", "sessions"}
    assert wanted | {"fail_open", "schema_version"} <= set(told)
    assert daemon.get("/v1/healthz") == {
        "schema_version": 1,
        "status": "ok",
        "version": told["version"],
    }


OPEN, SHOWN = "/v1/sessions", "/v1/sessions/shapes"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", OPEN, {"budget": 1}, 400, "budget_usd"),
        ("POST", OPEN, {"buget_usd": 1}, 400, "did you mean 'budget_usd'"),
        ("POST", OPEN, {"budget_usd": "lots"}, 400, "amount in USD"),
        ("POST", OPEN, {"budget_usd": True}, 400, "amount in USD"),
        ("POST", OPEN, {"budget_usd": [1]}, 400, "amount in USD"),
        ("POST", OPEN, {"budget_usd": -1}, 400, "zero or more"),
        ("POST", OPEN, {"budget_usd": "NaN"}, 400, "zero or more"),
        ("POST", OPEN, {"budget_usd": "Infinity"}, 400, "zero or more"),
        ("POST", OPEN, {"budget_usd": 1e300}, 400, "million"),
        ("POST", OPEN, b'{"budget_usd": 1e400}', 400, ""),
        ("POST", OPEN, b'{"budget_usd": NaN}', 400, "no JSON"),
        ("POST", OPEN, b"[1]", 400, "object"),
        ("POST", OPEN, b"{", 400, "no JSON"),
        ("POST", OPEN, b"[" * 100_000, 400, ""),
        ("POST", OPEN, {"session_id": 5}, 400, "text"),
        ("POST", OPEN, {"session_id": "a b"}, 400, "session id"),
        ("POST", OPEN, {"session_id": "a\nb"}, 400, "session id"),
        ("POST", OPEN, {"session_id": "../x"}, 400, "session id"),
        ("POST", OPEN, {"session_id": "{}"}, 400, "session id"),
        ("POST", OPEN, {"session_id": "\u202ex"}, 400, "session id"),
        ("POST", OPEN, {"session_id": "\u0430"}, 400, "session id"),
        ("POST", OPEN, {"session_id": "a" * 129}, 400, "session id"),
        ("POST", OPEN, {"session_id": "a" * 1_000_000}, 400, "session id"),
        ("POST", OPEN, {"mode": "free"}, 400, "enforce"),
        ("POST", OPEN, {"project": "a\0b"}, 400, "project"),
        ("POST", OPEN, {"ttl_s": 0}, 400, "ttl_s"),
        ("POST", OPEN, {"ttl_s": "1"}, 400, "ttl_s"),
        ("POST", OPEN, {"fail_open": "yes"}, 400, "fail_open"),
        ("PUT", f"{SHOWN}/budget", {}, 400, "missing"),
        ("PUT", f"{SHOWN}/budget", {"budget_usd": -0.01}, 400, "zero or more"),
        ("PUT", f"{SHOWN}/budget", {"usd": 5}, 400, "budget_usd"),
        ("PUT", "/v1/sessions/nobody/budget", {"budget_usd": 1}, 404, "nobody"),
        ("GET", "/v1/sessions/nobody", None, 404, "nobody"),
        ("POST", "/v1/sessions/nobody/kill", None, 404, "nobody"),
        ("GET", "/v1/sessions/a%00b", None, 404, ""),
        ("GET", "/v1/sessions/../status", None, 404, ""),
        ("POST", f"{SHOWN}/destroy", None, 404, ""),
        ("DELETE", SHOWN, None, 405, "GET"),
        ("GET", f"{SHOWN}/kill", None, 405, "POST"),
        ("POST", f"{SHOWN}/kill", {"why": "x"}, 400, "reason"),
        ("PUT", "/v1/budgets/planet:earth", {"monthly_usd": 1}, 400, "project:NAME"),
        ("PUT", "/v1/budgets/project:", {"monthly_usd": 1}, 400, "project:NAME"),
        ("PUT", "/v1/budgets/project:a%0ab", {"monthly_usd": 1}, 400, "project:NAME"),
        ("PUT", "/v1/budgets/project:a", {"monthly": 1}, 400, "did you mean 'monthly_usd'"),
        ("PUT", "/v1/budgets/project:a", {"monthly_usd": "NaN"}, 400, "zero or more"),
        ("GET", "/v2/sessions", None, 404, ""),
    ],
)
def test_what_can_t_be_is_said_so_and_changes_nothing(
    method: str, path: str, body: Any, status: int, says: str, daemon: Daemon
) -> None:
    daemon.call("POST", OPEN, {"session_id": "shapes", "budget_usd": 1})
    before = daemon.get("/v1/sessions")
    connection = UnixConnection(daemon.home / "agentwatch.sock")
    try:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body)
        connection.request(method, path, raw)
        answer = connection.getresponse()
        told = json.loads(answer.read())
    finally:
        connection.close()
    assert answer.status == status, told
    assert says in told["error"]["message"]
    assert daemon.get("/v1/sessions") == before


def test_events_follow_a_session(daemon: Daemon) -> None:
    agent = daemon.open(1.0)
    connection = UnixConnection(daemon.home / "agentwatch.sock")
    connection.request("GET", f"/v1/sessions/{agent.id}/events?follow=1")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.readline() == b": following\n"
    agent.do("pause")
    lines = iter(answer.readline, b"")
    event = next(json.loads(line[5:]) for line in lines if line.startswith(b"data:"))
    assert (event["kind"], event["state"]) == ("state", "paused")
    connection.close()


# ---- the data port


@pytest.fixture
def key(daemon: Daemon) -> str:
    issued = daemon.command("keys", "issue", f"k{time.monotonic_ns()}")
    found = next(word for word in issued.stdout.split() if word.startswith("awk_"))
    wait_until(lambda: on_port(daemon, "GET", "/v1/budget-check?session_id=x", found)[0] == 200)
    return found


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/sessions"),
        ("POST", "/v1/sessions"),
        ("GET", "/v1/status"),
        ("GET", "/v1/verify"),
        ("GET", "/v1/budgets"),
        ("PUT", "/v1/budgets/project:p"),
        ("POST", "/v1/sessions/port/kill"),
        ("PUT", "/v1/sessions/port/budget"),
        ("GET", "/v1/sessions/port/events"),
        ("POST", "/v1/holds"),
        ("POST", "/v1/holds/p1/void"),
        ("GET", "/v1/alerts"),
        ("POST", "/v1/alerts/ack"),
    ],
)
def test_control_is_not_taken_on_the_port_whatever_is_shown(
    method: str, path: str, daemon: Daemon, key: str
) -> None:
    agent = daemon.open(1.0)
    for shown in ("", agent.token, key):
        status, told = on_port(daemon, method, path, shown, {})
        assert (status, code(told)) == (404, "path_not_governed")


def test_the_port_says_that_it_is_there_and_nothing_else_to_a_stranger(daemon: Daemon) -> None:
    assert on_port(daemon, "GET", "/v1/healthz")[1]["status"] == "ok"
    for shown in ("", "awk_wrong", daemon.open(1.0).token, "sk-anything"):
        assert on_port(daemon, "GET", "/v1/budget-check?session_id=x", shown)[0] == 401


# ---- budget checks and holds


def test_a_budget_check_always_answers_and_never_changes_money(daemon: Daemon, key: str) -> None:
    agent = daemon.open(0.5)
    agent.post()
    before = agent.at_rest()
    told = on_port(daemon, "GET", f"/v1/budget-check?session_id={agent.id}&limit_usd=5", key)[1]
    assert told == {
        "schema_version": 1,
        "exceeded": False,
        "spent_usd": before["settled_usd"],
        "limit_usd": 0.5,
        "remaining_usd": before["remaining_usd"],
        "state": "active",
    }
    small = f"/v1/budget-check?session_id={agent.id}&limit_usd=0.000001"
    assert on_port(daemon, "GET", small, key)[1]["exceeded"] is True
    for query in ("", "?", "?session_id=no+such", "?session_id=%00&limit_usd=NaN", "?limit_usd=-1"):
        status, told = on_port(daemon, "GET", f"/v1/budget-check{query}", key)
        assert (status, told["exceeded"]) == (200, False)
    agent.do("kill")
    told = on_port(daemon, "GET", f"/v1/budget-check?session_id={agent.id}", key)[1]
    assert (told["exceeded"], told["state"]) == (True, "killed")
    assert daemon.get(f"/v1/sessions/{agent.id}")["settled_usd"] == before["settled_usd"]
    assert len(daemon.get("/v1/sessions")["sessions"]) == len(
        {row["session_id"] for row in daemon.get("/v1/sessions")["sessions"]}
    )


def test_a_project_without_money_exceeds_its_sessions(daemon: Daemon, key: str) -> None:
    daemon.call("PUT", "/v1/budgets/project:empty", {"monthly_usd": 0})
    agent = daemon.open(5.0, project="empty")
    told = on_port(daemon, "GET", f"/v1/budget-check?session_id={agent.id}", key)[1]
    assert told["exceeded"] is True


def hold(daemon: Daemon, **fields: Any) -> Any:
    asked = {"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1000, **fields}
    return daemon.call("POST", "/v1/holds", asked, check=False)


def test_a_hold_is_the_worst_case_and_is_settled_by_what_was_used(daemon: Daemon) -> None:
    agent = daemon.open(0.01)
    held = hold(daemon, session_id=agent.id, max_output_tokens=1000)
    # the dearest that can be reached: priority, where the price list has it
    assert held["iteration"] == 1
    assert 0.00075 <= held["held_usd"] <= 0.002
    assert agent.show()["held_usd"] == held["held_usd"]
    assert held["remaining_usd"] == pytest.approx(0.01 - held["held_usd"])
    settle = f"/v1/holds/{held['hold_id']}/settle"
    usage = {"usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}}
    first = daemon.call("POST", settle, usage)
    assert (first["settled_usd"], first["basis"]) == (0.000156, "usage")
    dearer = {"usage": {"prompt_tokens": 9000, "completion_tokens": 9000}}
    assert daemon.call("POST", settle, dearer) == first
    assert daemon.call("POST", settle.replace("settle", "void")) == first
    shown = agent.at_rest()
    assert (shown["settled_usd"], shown["held_usd"]) == (0.000156, 0)


def test_a_hold_is_given_back_once(daemon: Daemon) -> None:
    agent = daemon.open(0.01)
    path = f"/v1/holds/{hold(daemon, session_id=agent.id, max_output_tokens=10)['hold_id']}"
    first = daemon.call("POST", f"{path}/void")
    assert first["settled_usd"] == 0
    assert daemon.call("POST", f"{path}/void") == first
    assert daemon.call("POST", f"{path}/settle") == first
    assert agent.at_rest()["settled_usd"] == 0


def test_a_hold_settled_without_a_word_costs_all_of_it(daemon: Daemon) -> None:
    agent = daemon.open(0.01)
    held = hold(daemon, session_id=agent.id, max_output_tokens=100)
    told = daemon.call("POST", f"/v1/holds/{held['hold_id']}/settle")
    assert (told["settled_usd"], told["basis"]) == (held["held_usd"], "estimate")


def test_holds_stop_at_the_ceiling_and_no_limit_is_put_in(daemon: Daemon) -> None:
    agent = daemon.open(0.002)
    granted = []
    while "hold_id" in (told := hold(daemon, session_id=agent.id, max_output_tokens=500)):
        granted.append(told["held_usd"])
    assert code(told) == "agent_budget_exceeded"
    assert granted and sum(granted) <= 0.002
    # without a limit, the longest answer that the model can give is its worst case
    assert code(hold(daemon, session_id=agent.id)) == "agent_budget_exceeded"
    agent.do("kill")
    assert code(hold(daemon, session_id=agent.id)) == "session_killed"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"session_id": None}, "bad_request"),
        ({"model": None}, "bad_request"),
        ({"provider": "acme"}, "bad_request"),
        ({"model": "no-such-model"}, "model_not_priced"),
        ({"input_tokens": -1}, "bad_request"),
        ({"input_tokens": 1.5}, "bad_request"),
        ({"input_tokens": "1"}, "bad_request"),
        ({"input_tokens": True}, "bad_request"),
        ({"input_tokens": 1 << 60}, "bad_request"),
        ({"max_output_tokens": -1}, "bad_request"),
        ({"max_tokens": 5}, "bad_request"),
        ({"budget_usd": "NaN"}, "bad_request"),
    ],
)
def test_a_hold_that_can_t_be_priced_is_none(
    fields: dict[str, Any], reason: str, daemon: Daemon
) -> None:
    agent = daemon.open(1.0)
    told = hold(daemon, **{"session_id": agent.id, **fields})
    assert code(told) == reason
    assert agent.show()["held_usd"] == 0


def test_a_call_s_own_hold_is_not_ended_from_outside(daemon: Daemon) -> None:
    agent = daemon.open(1.0)
    request_id = agent.post().headers["x-agentwatch-request-id"]
    for verb in ("void", "settle"):
        told = daemon.call("POST", f"/v1/holds/{request_id}/{verb}", check=False)
        assert code(told) == "unknown_hold"
    assert code(daemon.call("POST", "/v1/holds/pnone/void", check=False)) == "unknown_hold"
    bad = hold(daemon, session_id=agent.id)["hold_id"]
    for usage in ({"prompt_tokens": -1, "completion_tokens": 0}, {}, 5, {"prompt_tokens": 1e9}):
        told = daemon.call("POST", f"/v1/holds/{bad}/settle", {"usage": usage}, check=False)
        assert code(told) == "bad_request"
    daemon.call("POST", f"/v1/holds/{bad}/void")


# ---- from inside a wrapped session

_CALLER = """
import json, os, sys
from agentwatch.mark import mark_self
mark_self()
how, calls = json.load(sys.stdin)
if how == "double fork":
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        sys.stdout.write(os.fdopen(read).read())
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.environ.clear()
    os.dup2(write, 1)
import http.client, socket
path = sys.argv[1]
answers = []
if how == "frames":
    from agentwatch.sdk.line import FrameLine
    for call in calls:
        line = FrameLine(path, 30.0)
        line.send(*call)
        answers.append(line.receive())
    calls = []
for method, target, body, token in calls:
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    headers = {"Authorization": "Bearer " + token} if token else {}
    connection.request(method, target, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    answers.append([answer.status, json.loads(answer.read())])
print(json.dumps(answers), flush=True)
os._exit(0)
"""

Asked = tuple[str, str, Any, str]


def from_inside(daemon: Daemon, *calls: Asked, how: str = "") -> list[tuple[int, Any]]:
    """What these calls (method, path, body, token) are told in a marked process."""
    done = subprocess.run(
        [sys.executable, "-c", _CALLER, str(daemon.home / "agentwatch.sock")],
        input=json.dumps([how, calls]),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return [(status, told) for status, told in json.loads(done.stdout)]


linux = pytest.mark.skipif(sys.platform != "linux", reason="the mark is Linux's")


@linux
@pytest.mark.parametrize("how", ["", "frames"])
def test_from_inside_a_session_sees_itself_and_can_only_have_less(how: str, daemon: Daemon) -> None:
    agent = daemon.open(1.0)
    own = f"/v1/sessions/{agent.id}"
    again = {"session_id": agent.id, "budget_usd": 50, "mode": "observe", "fail_open": True}
    answers = from_inside(
        daemon,
        ("GET", own, None, agent.token),
        ("GET", f"{own}/events", None, agent.token),
        ("GET", f"/v1/budget-check?session_id={agent.id}", None, agent.token),
        ("POST", "/v1/sessions", again, agent.token),
        ("PUT", f"{own}/budget", {"budget_usd": 0.25}, agent.token),
        ("GET", "/v1/healthz", None, ""),
        how=how,
    )
    assert [status for status, _ in answers] == [200] * 6
    shown = agent.show()
    assert (shown["budget_usd"], shown["mode"]) == (0.25, "enforce")


@linux
@pytest.mark.parametrize("how", ["", "double fork", "frames"])
def test_from_inside_nothing_else_is_done(how: str, daemon: Daemon) -> None:
    agent, other = daemon.open(1.0), daemon.open(1.0)
    own, its = f"/v1/sessions/{agent.id}", f"/v1/sessions/{other.id}"
    before = daemon.get("/v1/sessions")
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/v1/sessions", None),
        ("GET", its, None),
        ("GET", f"{its}/events?follow=1", None),
        ("GET", "/v1/budgets", None),
        ("GET", "/v1/verify", None),
        ("GET", f"/v1/budget-check?session_id={other.id}", None),
        ("PUT", f"{own}/budget", {"budget_usd": 1.000000001}),
        ("PUT", f"{own}/budget", {"budget_usd": None}),
        ("PUT", f"{its}/budget", {"budget_usd": 0}),
        ("POST", "/v1/sessions", {}),
        ("POST", "/v1/sessions", {"session_id": other.id}),
        ("POST", "/v1/sessions", {"session_id": "made-inside", "budget_usd": 9}),
        ("GET", "/v1/alerts", None),
        ("GET", "/v1/alerts?follow=1", None),
        ("POST", "/v1/alerts/ack", {"all": True}),
        ("POST", f"{own}/resume", None),
        ("POST", f"{own}/close", None),
        ("POST", f"{its}/kill", None),
        ("PUT", "/v1/budgets/project:p", {"monthly_usd": 9}),
        ("POST", "/v1/holds", {"session_id": agent.id, "provider": "openai", "model": "gpt-4o"}),
        ("POST", "/v1/holds/p1/void", None),
    ]
    shown = [(*call, token) for call in calls for token in (agent.token, "", "aws_made_up")]
    for (_, path, _, _), (status, told) in zip(
        shown, from_inside(daemon, *shown, how=how), strict=True
    ):
        assert (status, code(told)) == (403, "not_from_inside"), path
    assert daemon.get("/v1/sessions") == before


@linux
def test_from_inside_another_s_token_gives_no_more_than_its_own_would(daemon: Daemon) -> None:
    agent, other = daemon.open(1.0), daemon.open(1.0)
    raised = ("PUT", f"/v1/sessions/{agent.id}/budget", {"budget_usd": 9}, other.token)
    also = ("PUT", f"/v1/sessions/{other.id}/budget", {"budget_usd": 9}, other.token)
    assert [status for status, _ in from_inside(daemon, raised, also)] == [403, 403]


def test_killing_is_durable_before_it_is_told(daemon: Daemon) -> None:
    agent: Agent = daemon.open(1.0)
    agent.do("kill")
    assert agent.post().denied == "session_killed"
    assert daemon.call("POST", f"/v1/sessions/{agent.id}/close", check=False)["error"]


@linux
def test_a_part_of_a_session_has_no_money_and_no_gentler_terms_of_its_own(
    daemon: Daemon,
) -> None:
    agent = daemon.open(0.001, fail_open=False, on_anomaly="kill")
    other = daemon.open(1.0)
    terms = {"mode": "observe", "fail_open": True, "on_anomaly": "alert", "parent": agent.id}
    mine, taken, turned, monthly = from_inside(
        daemon,
        ("POST", "/v1/sessions", {"session_id": f"{agent.id}.1", **terms}, agent.token),
        ("POST", "/v1/sessions", {"session_id": other.id, "parent": agent.id}, agent.token),
        ("POST", "/v1/sessions", {"session_id": agent.id, "parent": other.id}, agent.token),
        ("POST", "/v1/sessions", {"parent": agent.id, "monthly_usd": 9}, agent.token),
    )
    assert mine[0] == 200
    assert all(status >= 400 for status, _ in (taken, turned, monthly))
    part = Agent(daemon, mine[1])
    assert part.post(body=chat()).status == 200
    long = chat(" ".join(f"w{n}" for n in range(5_000)))
    assert part.post(body=long).denied == "agent_budget_exceeded"
    whole = agent.at_rest()
    assert 0 < whole["settled_usd"] == part.show()["settled_usd"] <= 0.001
