"""The stand-in's door: who asks, which provider is meant, what it is told to do, and the books.

    POST /_standin/script     a rule, or a list of them (script.Rule), or {"default": …}
    GET  /_standin/bill       the bill
    GET  /_standin/requests   each request in full, refused ones too
    POST /_standin/reset      forget bill and rules
These are on the provider's own port and are not part of its wire.
"""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import zstandard
from aiohttp import web
from msgspec import Struct

from agentwatch.standin.anthropic import Anthropic
from agentwatch.standin.bill import Bill, Entry
from agentwatch.standin.gemini import Gemini
from agentwatch.standin.groq import Groq
from agentwatch.standin.line import Line
from agentwatch.standin.mistral import Mistral
from agentwatch.standin.openai import OpenAI
from agentwatch.standin.play import Play
from agentwatch.standin.provider import BadRequestError, Call, Provider, plan_for
from agentwatch.standin.script import Rule, Script, ScriptError, as_fields, build
from agentwatch.standin.xai import XAI

CONTROL = "/_standin/"
#: what must never get past the daemon, wherever it stands
MARKS = (b"aws_", b"awk_")


class Options(Struct, kw_only=True):
    """How the stand-in is set up."""

    key: str = "standin-key"
    #: texts that must not reach the provider, beside AgentWatch's own tokens and headers
    canaries: list[str] = []
    #: tokens of an answer where no script says otherwise
    tokens: int = 32
    default: dict[str, Any] = {}


class Standin:
    """All providers behind one port. `handle` is an aiohttp low-level handler."""

    def __init__(self, options: Options, bill: Bill) -> None:
        self._options = options
        self._bill = bill
        self._rules: list[Rule] = []
        self._default = dict(options.default)
        self._marks = (*MARKS, *(canary.encode() for canary in options.canaries))
        self._providers: Sequence[Provider] = (
            OpenAI(),
            Anthropic(),
            Gemini(),
            Groq(),
            XAI(),
            Mistral(),
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.path.startswith(CONTROL):
            return await self._control(request)
        entry = self._bill.start(request.method, request.path, time.time())
        try:
            return await self._serve(request, entry)
        except asyncio.CancelledError:
            self._end(entry, "client_gone")
            raise
        except ConnectionError:
            self._end(entry, "client_gone")
            return web.StreamResponse(status=499)
        finally:
            self._end(entry, "crashed")

    async def _serve(self, request: web.BaseRequest, entry: Entry) -> web.StreamResponse:
        body = await request.content.read()
        entry.headers = [name.decode("latin-1").lower() for name, _ in request.raw_headers]
        entry.leaks = self._leaks(request, entry.headers, body)
        provider, path = self._provider(request.path)
        if "Upgrade" in request.headers or provider is None:
            self._bill.websockets += "Upgrade" in request.headers
            return self._answer(entry, 404, b'{"error":{"message":"Not found"}}', "not_found")
        if provider.credential(request.headers, request.query) != self._options.key:
            self._bill.wrong_key += 1
            return self._answer(entry, 401, provider.error(401), "wrong_key")
        entry.credential_ok = True
        plain = provider.plain(request.method, path)
        if plain is not None:
            return self._answer(entry, 200, plain, "done")
        try:
            body = unpacked(body, request.headers.get("Content-Encoding", ""))
            call = provider.read(request.method, path, body)
            call.query = dict(request.query)
            script = self._script(call, body)
        except BadRequestError as bad:
            return self._answer(entry, bad.status, bad.body, "bad_request")
        except ScriptError as error:
            return self._answer(entry, 400, provider.error(400, str(error)), "bad_script")
        return await self._play(request, provider, call, script, entry)

    async def _play(
        self,
        request: web.BaseRequest,
        provider: Provider,
        call: Call,
        script: Script,
        entry: Entry,
    ) -> web.StreamResponse:
        self._note(entry, provider, call, script)
        if script.status is not None or script.redirect is not None:
            return await self._turn_away(provider, script, entry)
        entry.prompt_tokens = provider.weigh(call, script.density)
        entry.cached = min(script.cached, entry.prompt_tokens)
        entry.written = min(script.cache_write, entry.prompt_tokens - entry.cached)
        provider.note(entry, call, script)
        entry.status = 200
        self._bill.accept(entry)
        most = provider.most_output(call.model)
        plan = plan_for(call, script, self._options.tokens, most)
        voice = provider.voice(call, plan, entry)
        line = Line(request, script)
        headers = {"x-request-id": entry.id, "openai-processing-ms": "1", **call.headers}
        ended = await Play(call, plan, voice, entry, line, headers).run()
        self._end(entry, ended)
        return line.response

    async def _turn_away(
        self, provider: Provider, script: Script, entry: Entry
    ) -> web.StreamResponse:
        await asyncio.sleep(script.head_delay)
        if script.redirect is not None:
            response = self._answer(entry, script.status or 307, b"", "redirected")
            response.headers["Location"] = script.redirect
            return response
        status = script.status or 500
        response = self._answer(entry, status, provider.error(status), "refused")
        if script.retry_after is not None:
            response.headers["Retry-After"] = script.retry_after
        return response

    def _note(self, entry: Entry, provider: Provider, call: Call, script: Script) -> None:
        entry.provider, entry.reckon = provider.name, provider.cost
        entry.api, entry.stream, entry.limit = call.api, call.stream, call.limit
        entry.choices, entry.requested_model = call.made_choices, call.model
        answers = script.answer_model
        entry.model = answers if answers and provider.knows(answers) else call.model
        entry.tier = provider.tier(entry.model, script.answer_tier or call.tier)

    def _answer(self, entry: Entry, status: int, body: bytes, ended: str) -> web.Response:
        entry.status = status
        self._end(entry, ended)
        headers = {"x-request-id": entry.id}
        return web.Response(
            status=status, body=body, headers=headers, content_type="application/json"
        )

    def _end(self, entry: Entry, how: str) -> None:
        self._bill.end(entry, how, time.time())

    def _provider(self, path: str) -> tuple[Provider | None, str]:
        for provider in self._providers:
            for prefix in provider.prefixes:
                if path.startswith(prefix + "/"):
                    return provider, path[len(prefix) :]
        return None, path

    def _script(self, call: Call, body: bytes) -> Script:
        rule = next((r for r in self._rules if r.fits(call.api, call.model, body)), None)
        if rule is None:
            return build(self._default, call.directive)
        if rule.count == 1:
            self._rules.remove(rule)
        elif rule.count > 1:
            rule.count -= 1
        return build(self._default, call.directive, as_fields(rule.script))

    def _leaks(self, request: web.BaseRequest, names: list[str], body: bytes) -> list[str]:
        found = [
            f"header {name}: {mark.decode()}"
            for name, (_, value) in zip(names, request.raw_headers, strict=True)
            for mark in self._marks
            if mark in value
        ]
        found += [f"header {name}" for name in names if name.startswith("x-agentwatch")]
        path = request.raw_path.encode()
        found += [f"path: {mark.decode()}" for mark in self._marks if mark in path]
        return found + [f"body: {mark.decode()}" for mark in self._marks if mark in body]

    async def _control(self, request: web.BaseRequest) -> web.Response:
        verb = request.path.removeprefix(CONTROL)
        if request.method == "GET" and verb == "bill":
            return _told(self._bill.summary())
        if request.method == "GET" and verb == "requests":
            return _told({"requests": [entry.record() for entry in self._bill.entries()]})
        if request.method == "POST" and verb == "reset":
            self._bill.reset()
            self._rules, self._default = [], dict(self._options.default)
            return _told({"reset": True})
        if request.method == "POST" and verb == "script":
            return self._teach(await request.read())
        return _told({"error": f"no such control call: {request.method} {verb}"}, 404)

    def _teach(self, body: bytes) -> web.Response:
        try:
            taught = msgspec.json.decode(body)
            if isinstance(taught, dict) and "default" in taught:
                default = as_fields(taught["default"])
                build(default)
                self._default = default
                return _told({"rules": len(self._rules)})
            rules = msgspec.convert(taught if isinstance(taught, list) else [taught], list[Rule])
            for rule in rules:
                build(as_fields(rule.script))
        except (msgspec.MsgspecError, ScriptError) as error:
            return _told({"error": str(error)}, 400)
        self._rules += rules
        return _told({"rules": len(self._rules)})


def unpacked(body: bytes, encoding: str) -> bytes:
    """A request's body without its content encoding. Raises BadRequestError."""
    try:
        if encoding == "gzip":
            return gzip.decompress(body)
        if encoding == "deflate":
            return zlib.decompress(body)
        if encoding == "zstd":
            reader = zstandard.ZstdDecompressor().decompressobj()
            return bytes(reader.decompress(body))
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise BadRequestError(
            400, b'{"error":{"message":"unreadable content encoding"}}'
        ) from error
    return body


def _told(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")


async def listen(standin: Standin, host: str, port: int) -> tuple[web.ServerRunner, int]:
    """Serve until the runner is cleaned up. Returns the runner and the port that was taken."""
    server = web.Server(
        standin.handle, handler_cancellation=True, auto_decompress=False, access_log=None
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    return runner, int(runner.addresses[0][1])
