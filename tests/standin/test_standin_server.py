"""The door: keys, leaks, rules and the control calls."""

from __future__ import annotations

import gzip
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import zstandard

from agentwatch.standin.process import StandinProcess

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def send(
    standin: StandinProcess,
    path: str = "/v1/chat/completions",
    body: bytes | None = None,
    method: str = "POST",
    **headers: str,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    asked = json.dumps({"model": "gpt-4o-mini", "messages": HELLO}).encode()
    sent = {"Authorization": f"Bearer {standin.key}", **headers}
    sent = {name.replace("_", "-"): value for name, value in sent.items()}
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=10)
    try:
        connection.request(method, path, body=asked if body is None else body, headers=sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_a_wrong_key_is_refused_counted_and_costs_nothing(standin: StandinProcess) -> None:
    for key in ("Bearer aws_session", "Bearer ", standin.key):
        status, _, body = send(standin, Authorization=key)
        assert status == 401
        assert json.loads(body)["error"]["code"] == "invalid_api_key"
    bill = standin.bill()
    assert (bill["wrong_key"], bill["billed_nanos"], bill["refused"]) == (3, 0, 3)
    assert not any(row["credential_ok"] for row in bill["by_request"])


def test_what_should_never_have_come_is_noticed_wherever_it_stands(
    standin: StandinProcess,
) -> None:
    send(standin, x_api_key="aws_stolen", X_AgentWatch_Session_Id="abc")
    send(standin, path="/v1/chat/completions?key=awk_x")
    send(standin, body=b'{"model":"gpt-4o-mini","user":"sk-real-canary"}')
    leaks = [row["leaks"] for row in standin.requests()]
    assert leaks == [
        ["header x-api-key: aws_", "header x-agentwatch-session-id"],
        ["path: awk_"],
        ["body: sk-real-canary"],
    ]
    assert len(standin.bill()["leaks"]) == 4


def test_header_values_are_never_kept(standin: StandinProcess) -> None:
    send(standin, x_thing="very-secret-value")
    rows = json.dumps(standin.requests())
    assert "x-thing" in rows
    assert "very-secret-value" not in rows
    assert standin.key not in rows


@pytest.mark.parametrize("status", [400, 402, 403, 429, 500, 503, 529])
def test_a_scripted_status_bills_nothing_and_is_over_after_its_turn(
    standin: StandinProcess, status: int
) -> None:
    standin.script({"status": status, "retry_after": "7"})
    answered, headers, body = send(standin)
    assert answered == status
    assert headers["Retry-After"] == "7"
    assert json.loads(body)["error"]["message"]
    assert standin.bill()["billed_nanos"] == 0
    assert send(standin)[0] == 200


def test_a_redirect_points_where_it_was_told_and_is_not_billed(standin: StandinProcess) -> None:
    standin.script("redirect=http://127.0.0.1:9/elsewhere")
    status, headers, _ = send(standin)
    assert (status, headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")
    assert standin.bill()["billed_nanos"] == 0


def test_rules_are_taken_by_the_calls_they_fit_and_as_often_as_told(
    standin: StandinProcess,
) -> None:
    standin.script("status=503", model="gpt-5")
    standin.script("status=429", count=2)
    standin.script("status=402", contains="hello", count=0)
    assert [send(standin)[0] for _ in range(5)] == [429, 429, 402, 402, 402]


def test_a_default_is_for_all_and_a_directive_over_it(standin: StandinProcess) -> None:
    standin.default("tokens=3")
    directed = {"role": "user", "content": "[[standin: tokens=5]]"}
    body = json.dumps({"model": "gpt-4o-mini", "messages": [directed]}).encode()
    counts = [
        json.loads(send(standin, body=sent)[2])["usage"]["completion_tokens"]
        for sent in (None, body)
    ]
    assert counts == [3, 5]
    standin.reset()
    assert json.loads(send(standin)[2])["usage"]["completion_tokens"] == 32


def test_a_misspelt_script_is_told_to_who_wrote_it(standin: StandinProcess) -> None:
    with pytest.raises(ValueError, match="unknown field"):
        standin.script("tockens=3")
    directed = {"role": "user", "content": "[[standin: tockens=5]]"}
    body = json.dumps({"model": "gpt-4o-mini", "messages": [directed]}).encode()
    status, _, answer = send(standin, body=body)
    assert status == 400
    assert b"tockens" in answer


def test_a_websocket_is_not_found_and_counted(standin: StandinProcess) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": "x" * 22}
    assert send(standin, "/v1/responses", b"", "GET", **headers)[0] == 404
    assert standin.bill()["websockets"] == 1


def test_packed_requests_are_read(standin: StandinProcess) -> None:
    plain = json.dumps({"model": "gpt-4o-mini", "messages": HELLO}).encode()
    for encoding, packed in (
        ("gzip", gzip.compress(plain)),
        ("zstd", zstandard.ZstdCompressor().compress(plain)),
    ):
        assert send(standin, body=packed, Content_Encoding=encoding)[0] == 200
    assert send(standin, body=b"no gzip", Content_Encoding="gzip")[0] == 400


def test_calls_at_once_are_counted_and_none_is_lost(standin: StandinProcess) -> None:
    standin.default("tokens=20 delay=0.01")
    with openai.OpenAI(base_url=standin.url, api_key=standin.key, max_retries=0) as sdk:

        def call(_: int) -> int:
            answer = sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
            assert answer.usage
            return answer.usage.prompt_tokens * 150 + answer.usage.completion_tokens * 600

        with ThreadPoolExecutor(8) as pool:
            costs = list(pool.map(call, range(16)))
    bill = standin.bill()
    assert bill["billed_nanos"] == sum(costs)
    assert bill["max_in_flight"] >= 4
    assert bill["in_flight"] == 0


def test_an_unknown_control_call_is_told_so(standin: StandinProcess) -> None:
    assert send(standin, "/_standin/bills", method="GET")[0] == 404
    assert standin.bill()["requests"] == 0
