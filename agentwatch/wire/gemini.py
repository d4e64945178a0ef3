"""Gemini's wire: its paths, its errors, and which reader each method has.

The model is part of the path, which is compared as it came: whole, before anything is decoded. Of
the query only what is known is let through, as a field mask would take the usage out of the
answer. An error has Google's shape, where `code` is the HTTP status; the contract's reason is the
`reason` of its ErrorInfo in `details`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec

from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Dialect, Meter, Reported, Request
from agentwatch.wire.gemini_answer import GeminiBody, GeminiEmbeddings, plain_tier
from agentwatch.wire.gemini_compat import GeminiCompat
from agentwatch.wire.gemini_names import camel_keys
from agentwatch.wire.gemini_request import ARRAY, read_embedding, read_free, read_generation
from agentwatch.wire.gemini_usage import Expected, read_usage
from agentwatch.wire.json_object import read_json, read_object

_VERSION = r"(?:/(v1|v1beta|v1alpha))?"
_MODEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_METHOD = re.compile(_VERSION + rf"/models/({_MODEL}):([A-Za-z]{{1,40}})")
_MODELS = re.compile(_VERSION + rf"(/models(?:/{_MODEL})?)")
_COMPAT = re.compile(_VERSION + r"(/openai/.*)", re.DOTALL)
#: the version that has all that the others have, for clients that name none
_DEFAULT_VERSION = "v1beta"
_EMBEDS = ("embedContent", "batchEmbedContents")
_GOVERNED = ("generateContent", "streamGenerateContent", *_EMBEDS, "countTokens")
_QUERIES = {"streamGenerateContent": ("", "alt=sse", "alt=json")}
_PAGED = re.compile(r"((page_?[sS]ize=\d{1,5}|page_?[tT]oken=[A-Za-z0-9_=-]{0,512})(&|$)){0,2}")

_STATUS = {
    "agent_budget_exceeded": 402,
    "unknown_credential": 401,
    "bad_request": 400,
    "websocket_not_governed": 426,
    "governance_unavailable": 503,
}
_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    426: "FAILED_PRECONDITION",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
}


class Gemini:
    """The dialect of Google's Gemini API."""

    name = "gemini"

    def __init__(self) -> None:
        self._compat = GeminiCompat()

    def at(self, path: str) -> Dialect:
        """OpenAI's wire below /openai, this one elsewhere."""
        return self._compat if _COMPAT.fullmatch(path) else self

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; `path` is below the provider's prefix, undecoded, `query` without its
        credential. Raises Refusal."""
        if method == "GET" and (found := _MODELS.fullmatch(path)) and ".." not in path:
            return self._read_models(method, found, query)
        called = _METHOD.fullmatch(path) if method == "POST" else None
        if called is None or ".." in path:
            raise _not_governed(method, path)
        version, model, verb = called.groups()
        if verb not in _GOVERNED or query not in _QUERIES.get(verb, ("", "alt=json")):
            raise _not_governed(method, f"{path}?{query}" if query else path)
        target = f"/{version or _DEFAULT_VERSION}/models/{model}:{verb}"
        target += f"?{query}" if query else ""
        fields = read_object(body)
        if verb == "countTokens":
            return read_free(self.name, target, fields)
        if verb in _EMBEDS:
            return read_embedding(self.name, model, target, fields)
        stream = verb == "streamGenerateContent"
        as_array = stream and query != "alt=sse"
        return read_generation(self.name, model, target, fields, stream=stream, json_array=as_array)

    def _read_models(self, method: str, found: re.Match[str], query: str) -> tuple[Ask, Request]:
        if not _PAGED.fullmatch(query):
            raise _not_governed(method, f"{found[2]}?{query}")
        target = f"/{found[1] or _DEFAULT_VERSION}{found[2]}"
        return read_free(self.name, f"{target}?{query}" if query else target, None)

    def reported(self, usage: bytes, model: str) -> Reported | None:
        """A usage object as a caller hands it on, in either spelling."""
        fields = camel_keys(read_json(usage))
        if not isinstance(fields, dict):
            return None
        if "promptTokenCount" not in fields:
            return self._compat.reported(usage, model)
        found, tier = read_usage(msgspec.json.encode(fields), Expected()), fields.get("serviceTier")
        if found is None:
            return None
        return Reported(found, plain_tier(tier) if isinstance(tier, str) else None)

    def answered(self, answer: bytes) -> Meter | None:
        """A whole answer as a caller hands it on, in either spelling; its SDK keeps the headers,
        of which one tells the tier."""
        fields = camel_keys(read_json(answer))
        if not isinstance(fields, dict):
            return None
        if "object" in fields:
            return self._compat.answered(answer)
        embeds = "embeddings" in fields or "embedding" in fields
        meter = (GeminiEmbeddings if embeds else GeminiBody)(Expected(not embeds, searches=True))
        came = fields.get("sdkHttpResponse")
        headers = came.get("headers") if isinstance(came, dict) else None
        if isinstance(headers, dict):
            meter.head({str(name).lower(): str(value) for name, value in headers.items()})
        meter.feed(msgspec.json.encode(fields))
        meter.close()
        return meter

    def refusal(self, reason: str, message: str, status: int | None = None) -> tuple[int, bytes]:
        """Status and body of a refusal; 403 where nothing else is said."""
        code = status or _STATUS.get(reason, 403)
        return code, _error(code, reason, message)

    def stream_error(self, api: str, reason: str, message: str) -> bytes:
        """The error that ends a stream so that the SDK raises: an event, or an element."""
        error = _error(_STATUS.get(reason, 403), reason, message)
        return error if api == ARRAY else b"data: " + error + b"\r\n\r\n"


def _error(code: int, reason: str, message: str) -> bytes:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "agentwatch",
    }
    status = _NAMES.get(code, "UNKNOWN")
    error = {"code": code, "message": message, "status": status, "details": [info]}
    return json.dumps({"error": error}).encode()


def _not_governed(method: str, path: str) -> Refusal:
    return Refusal(
        "path_not_governed",
        f"{method[:10]!a} on {path[:100]!a} can't be priced, so it is not let through: governed "
        "are /v1beta/models/MODEL with " + ", ".join(f":{verb}" for verb in _GOVERNED),
    )
