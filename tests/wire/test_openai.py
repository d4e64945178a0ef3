"""OpenAI's paths, refusals, and the end of a stream as the real SDK sees it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest

from agentwatch.errors import Refusal
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_chat import ChatBody, ChatStream, EmbeddingsBody, FreeBody
from agentwatch.wire.openai_responses import ResponsesBody, ResponsesStream

WIRE = OpenAI()
CHAT = b'{"model":"gpt-4o","messages":[]}'


def refused(method: str, path: str, query: str = "") -> str:
    with pytest.raises(Refusal) as refusal:
        WIRE.read(method, path, query, {}, CHAT)
    return refusal.value.reason


@pytest.mark.parametrize("version", ["", "/v1", "/v1/v1"])
@pytest.mark.parametrize("api", ["chat/completions", "responses", "completions", "embeddings"])
def test_the_governed_paths_are_taken_with_and_without_a_version(version: str, api: str) -> None:
    ask, _ = WIRE.read("POST", f"{version}/{api}", "", {}, CHAT)
    assert (ask.upstream_path, ask.free) == (f"/{api}", False)


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/models/ft:gpt-4o:org::id"])
def test_reading_models_is_free_and_sends_no_body(path: str) -> None:
    ask, request = WIRE.read("GET", path, "", {}, b"ignored")
    assert (ask.free, ask.has_output, request.body()) == (True, False, b"")


@pytest.mark.parametrize("path", ["/v1/moderations", "/v1/responses/input_tokens"])
def test_what_costs_nothing_is_sent_on(path: str) -> None:
    ask, request = WIRE.read("POST", path, "", {}, b'{ "input": "x" }')
    assert (ask.free, request.body()) == (True, b'{"input":"x"}')


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/batches"),
        ("POST", "/v1/files"),
        ("POST", "/v1/realtime/client_secrets"),
        ("POST", "/v1/images/variations"),
        ("POST", "/v1/videos"),
        ("POST", "/v1/audio/voices"),
        ("POST", "/v1/responses/compact"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/cancel"),
        ("DELETE", "/v1/responses/resp_1/input_items"),
        ("GET", "/v1/responses/resp_../../files"),
        ("GET", "/v1/responses/other_1"),
        ("GET", "/v1/chat/completions"),
        ("DELETE", "/v1/models/ft:gpt-4o"),
        ("PUT", "/v1/chat/completions"),
        ("POST", "/v1/../v1/chat/completions"),
        ("POST", "/v1/%2e%2e/chat/completions"),
        ("POST", "/v1/..%2fchat/completions"),
        ("POST", "/v1//chat/completions"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/chat%2fcompletions"),
        ("POST", "/v1/ch%61t/completions"),
        ("POST", "/v1\\chat\\completions"),
        ("POST", "/v1/v1/v1/chat/completions"),
        ("POST", "/V1/chat/completions"),
        ("POST", "http://elsewhere/v1/chat/completions"),
        ("POST", "/v1/chat/completions\n"),
        ("POST", ""),
        ("GET", "/v1/models/../files"),
        ("GET", "/v1/models/a..b"),
        ("GET", "/v1/models/a/permissions"),
        ("GET", "/v1/models\n"),
    ],
)
def test_any_other_path_is_not_governed(method: str, path: str) -> None:
    assert refused(method, path) == "path_not_governed"


def test_a_query_is_refused_and_not_repeated() -> None:
    with pytest.raises(Refusal) as refusal:
        WIRE.read("POST", "/v1/chat/completions", "key=sk-secret", {}, CHAT)
    assert refusal.value.reason == "path_not_governed"
    assert "secret" not in refusal.value.message


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("agent_budget_exceeded", 400),
        ("session_killed", 400),
        ("path_not_governed", 400),
        ("model_not_priced", 400),
        ("session_mismatch", 400),
        ("bad_request", 400),
        ("unknown_credential", 401),
        ("websocket_not_governed", 426),
        ("governance_unavailable", 503),
    ],
)
def test_a_refusal_has_the_contracts_status_and_openais_shape(reason: str, status: int) -> None:
    got, body = WIRE.refusal(reason, "words")
    error = json.loads(body)["error"]
    assert (got, error["code"], error["message"], error["param"]) == (status, reason, "words", None)
    assert error["type"]


def test_a_status_that_is_given_wins() -> None:
    assert WIRE.refusal("bad_request", "too large", 413)[0] == 413


def test_each_api_has_its_meter() -> None:
    def meter(api: str, streamed: bool) -> object:
        return WIRE.read("POST", f"/{api}", "", {}, CHAT)[1].meter(streamed)

    assert isinstance(meter("chat/completions", True), ChatStream)
    assert isinstance(meter("chat/completions", False), ChatBody)
    assert isinstance(meter("completions", True), ChatStream)
    assert isinstance(meter("responses", True), ResponsesStream)
    assert isinstance(meter("responses", False), ResponsesBody)
    assert isinstance(meter("embeddings", False), EmbeddingsBody)
    assert isinstance(meter("moderations", False), FreeBody)


STARTS = {
    "/v1/chat/completions": (
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
    ),
    "/v1/completions": b'data: {"id":"c","object":"text_completion","choices":[]}\n\n',
    "/v1/responses": (
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
        b'"item_id":"m","output_index":0,"content_index":0,"delta":"hi","sequence_number":1,'
        b'"logprobs":[]}\n\n'
    ),
}


class Ending(BaseHTTPRequestHandler):
    """Begins a stream on each API, and ends it as the daemon does when the money is gone."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        api = WIRE.read("POST", self.path, "", {}, CHAT)[0].api
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(STARTS[self.path])
        self.wfile.write(WIRE.stream_error(api, "agent_budget_exceeded", "the money is gone"))

    def log_message(self, *arguments: object) -> None:
        """The test says what matters."""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Ending) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def _consume(client: openai.OpenAI, api: str) -> int:
    if api == "chat":
        return sum(1 for _ in client.chat.completions.create(model="m", messages=[], stream=True))
    if api == "completions":
        return sum(1 for _ in client.completions.create(model="m", prompt="x", stream=True))
    return sum(1 for _ in client.responses.create(model="m", input="x", stream=True))


async def _consume_async(client: openai.AsyncOpenAI, api: str) -> int:
    stream: AsyncIterator[object]
    if api == "chat":
        stream = await client.chat.completions.create(model="m", messages=[], stream=True)
    elif api == "completions":
        stream = await client.completions.create(model="m", prompt="x", stream=True)
    else:
        stream = await client.responses.create(model="m", input="x", stream=True)
    return len([event async for event in stream])


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
def test_a_stream_that_we_end_raises_in_the_sdk(base_url: str, api: str) -> None:
    with (
        openai.OpenAI(api_key="k", base_url=base_url) as client,
        pytest.raises(openai.APIError, match="the money is gone") as raised,
    ):
        _consume(client, api)
    assert raised.value.code == "agent_budget_exceeded"


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
def test_a_stream_that_we_end_raises_in_the_async_sdk(base_url: str, api: str) -> None:
    async def ended() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=base_url) as client:
            await _consume_async(client, api)

    with pytest.raises(openai.APIError, match="the money is gone") as raised:
        asyncio.run(ended())
    assert raised.value.code == "agent_budget_exceeded"


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/v1/responses/resp_1a", ""),
        ("GET", "/responses/resp_1a", "include[]=reasoning.encrypted_content&stream=false"),
        ("GET", "/v1/responses/resp_1a/input_items", "limit=20&order=asc"),
        ("DELETE", "/v1/responses/resp_1a", ""),
    ],
)
def test_what_was_stored_is_read_and_deleted_for_nothing(
    method: str, path: str, query: str
) -> None:
    ask, request = WIRE.read(method, path, query, {}, b"ignored")
    assert (ask.free, request.body()) == (True, b"")
    assert ask.upstream_path == path.removeprefix("/v1") + (f"?{query}" if query else "")


@pytest.mark.parametrize("query", ["a=b#c", "x=\r\ny", "a" * 600, "key=ä"])
def test_a_query_of_other_letters_is_not_passed_on(query: str) -> None:
    assert refused("GET", "/v1/responses/resp_1", query) == "path_not_governed"
