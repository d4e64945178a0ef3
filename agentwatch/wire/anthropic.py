"""Anthropic's wire: its paths, its errors, and which reader and meter each API has.

Clients disagree on who adds the version, so `/messages` and `/v1/messages` are one path; the
provider's base URL has none, so it is put in on the way out. The OpenAI-compatible path is
OpenAI's wire, errors included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agentwatch.errors import Refusal
from agentwatch.wire.anthropic_messages import MessageBody, MessageStream
from agentwatch.wire.anthropic_request import MessageRequest, read_messages
from agentwatch.wire.anthropic_usage import read_usage
from agentwatch.wire.dialect import Ask, Dialect, Meter, Reported, Request
from agentwatch.wire.json_object import read_json, read_object
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_chat import FreeBody
from agentwatch.wire.openai_request import CHAT, Answering, read_free, read_request

_MESSAGES = "/messages"
_COUNT = "/messages/count_tokens"
_CHAT = "/chat/completions"
_MODELS = re.compile(r"/models(?:/[A-Za-z0-9][A-Za-z0-9._:-]{0,127})?")
_VERSIONS = ("/v1/v1/", "/v1/")
#: what may stand behind a path: the SDK's beta calls say so there
_BETA = "beta=true"
_PAGE = re.compile(r"(?:(?:^|&)(?:limit|after_id|before_id|beta)=[A-Za-z0-9._-]{0,128})+")

_STATUS = {
    "unknown_credential": 401,
    "agent_budget_exceeded": 402,
    "bad_request": 400,
    "websocket_not_governed": 426,
    "governance_unavailable": 503,
}
_TYPE = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    413: "request_too_large",
}


class Anthropic:
    """The dialect of Anthropic."""

    name = "anthropic"
    #: the meter of a message in one piece
    whole = MessageBody

    def __init__(self) -> None:
        self._compatible = _Compatible()

    def at(self, path: str) -> Dialect:
        """OpenAI's wire on the path that is compatible with it."""
        return self._compatible if _short(path) == _CHAT else self

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; `path` is below the provider's prefix, undecoded, and `headers` are
        found under lower-case names. Raises Refusal."""
        short = _short(path)
        if method == "GET" and _is_listing(short, query):
            return read_free(self.name, _with_query(short, query), {}, _free)
        if method != "POST" or short not in (_MESSAGES, _COUNT):
            raise _not_governed(method, path)
        if query not in ("", _BETA):
            raise _not_governed(method, f"{path}?…")
        fields = read_object(body)
        way_out = _with_query(short, query)
        if short == _COUNT:
            return read_free(self.name, way_out, fields, _free)
        return read_messages(self.name, way_out, fields, headers, _meter)

    def reported(self, usage: bytes, model: str) -> Reported | None:
        """A usage object as a caller hands it on. A cache write whose lifetime it does not tell is
        taken for the dearer one."""
        fields = read_json(usage)
        if not isinstance(fields, dict):
            return None
        if "prompt_tokens" in fields:
            return self._compatible.reported(usage, model)
        found = read_usage(fields, model, keeps_long=True)
        tier = "fast" if fields.get("speed") == "fast" else fields.get("service_tier")
        if found is None:
            return None
        return Reported(found, tier if isinstance(tier, str) else None)

    def answered(self, answer: bytes) -> Meter | None:
        """A whole answer as a caller hands it on."""
        fields = read_json(answer)
        if not isinstance(fields, dict):
            return None
        if "object" in fields:
            return self._compatible.answered(answer)
        meter = self.whole(True)
        meter.feed(answer)
        meter.close()
        return meter

    def refusal(self, reason: str, message: str, status: int | None = None) -> tuple[int, bytes]:
        """Status and body of a refusal. 402 and 403 are asked again on by no client of this
        wire."""
        status = status or _STATUS.get(reason, 403)
        return status, json.dumps(_error(reason, message, status)).encode()

    def stream_error(self, api: str, reason: str, message: str) -> bytes:
        """The event that ends a stream so that the SDK raises."""
        event = json.dumps(_error(reason, message, _STATUS.get(reason, 403))).encode()
        return b"event: error\ndata: " + event + b"\n\n"


class _Compatible(OpenAI):
    """Anthropic's chat completions, which are OpenAI's."""

    name = Anthropic.name

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a chat request. Raises Refusal."""
        if method != "POST" or query:
            raise _not_governed(method, f"{path}?…" if query else path)
        fields = read_object(body)
        return read_request(self.name, CHAT, f"/v1{_CHAT}", fields, headers, self.meter)


def _short(path: str) -> str:
    for version in _VERSIONS:
        if path.startswith(version):
            return path[len(version) - 1 :]
    return path


def _is_listing(short: str, query: str) -> bool:
    """Whether it asks for the models, or a page of them: free."""
    named = _MODELS.fullmatch(short) and ".." not in short
    return bool(named) and (not query or _PAGE.fullmatch(query) is not None)


def _with_query(short: str, query: str) -> str:
    return f"/v1{short}?{query}" if query else f"/v1{short}"


def _free(answering: Answering) -> Meter:
    return FreeBody()


def _meter(request: MessageRequest, streamed: bool) -> Meter:
    made = MessageStream if streamed else MessageBody
    return made(request.keeps_long)


def _not_governed(method: str, path: str) -> Refusal:
    governed = ", ".join(f"/v1{path}" for path in (_MESSAGES, _COUNT, _CHAT))
    return Refusal(
        "path_not_governed",
        f"{method[:10]!a} on {path[:100]!a} can't be priced, so it is not let through: "
        f"governed are {governed}",
    )


def _error(reason: str, message: str, status: int) -> dict[str, Any]:
    kind = _TYPE.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message, "code": reason}}
