"""OpenAI's wire: its paths, its errors, and which reader and meter each API has.

Paths are compared as they came on the wire, whole and before anything is decoded: what is not in
the table is not governed. Errors have OpenAI's shape with the contract's reason as their code, so
that its SDKs raise what they always raise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Dialect, Meter, Reported, Request
from agentwatch.wire.json_object import read_json, read_object
from agentwatch.wire.multipart import read_form
from agentwatch.wire.openai_audio import read_speech, read_transcription
from agentwatch.wire.openai_chat import ChatBody, ChatStream, EmbeddingsBody, FreeBody
from agentwatch.wire.openai_images import read_edit, read_generation
from agentwatch.wire.openai_request import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    FREE,
    RESPONSES,
    Answering,
    Api,
    read_free,
    read_request,
)
from agentwatch.wire.openai_responses import ResponsesBody, ResponsesStream
from agentwatch.wire.openai_usage import any_usage
from agentwatch.wire.openai_whole import meter_of, with_fees

_APIS = {
    "/chat/completions": CHAT,
    "/responses": RESPONSES,
    "/completions": COMPLETIONS,
    "/embeddings": EMBEDDINGS,
    "/responses/input_tokens": FREE,
    "/moderations": FREE,
}
#: billed by sound or image; what is sent as a form
_TRANSCRIPTIONS = ("/audio/transcriptions", "/audio/translations")
_SPEECH, _GENERATIONS, _EDITS = "/audio/speech", "/images/generations", "/images/edits"
_MEDIA = (*_TRANSCRIPTIONS, _SPEECH, _GENERATIONS, _EDITS)
_MODELS = re.compile(r"/models(?:/[A-Za-z0-9][A-Za-z0-9._:-]{0,127})?")
#: what was stored is read and deleted for nothing, by an id that only its maker was told
_STORED = re.compile(r"/responses/resp_[A-Za-z0-9_]{1,128}(?P<items>/input_items)?")
_STORED_QUERY = re.compile(r"[A-Za-z0-9_.\[\]%&=-]{0,512}")

_STATUS = {"unknown_credential": 401, "websocket_not_governed": 426, "governance_unavailable": 503}
_TYPE = {
    "unknown_credential": "authentication_error",
    "governance_unavailable": "server_error",
    "agent_budget_exceeded": "insufficient_quota",
}


class OpenAI:
    """The dialect of OpenAI, and of those who speak it."""

    name = "openai"
    #: what may stand before an API's path; clients disagree on who adds it
    versions: tuple[str, ...] = ("/v1/v1/", "/v1/")
    #: the APIs by their paths, and which of those of sound and images there are
    apis: Mapping[str, Api] = _APIS
    media: tuple[str, ...] = _MEDIA
    #: paths of what was stored: a response, or its `items`
    stored: re.Pattern[str] = _STORED
    #: sound that is billed at least, in milliseconds
    least_audio_ms = 0
    #: speech is billed by the character (None: of some models, which are known)
    speech_by_character: bool | None = None

    def at(self, path: str) -> Dialect:
        """One wire on all paths."""
        return self

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; `path` is below the provider's prefix, undecoded, and `headers` are
        found under lower-case names. Raises Refusal."""
        short = self._short(path)
        if found := self.stored.fullmatch(short):
            return self._stored(method, short, query, bool(found["items"]))
        if query:
            raise self._not_governed(method, f"{path}?…")
        if method == "GET" and _MODELS.fullmatch(short) and ".." not in short:
            return read_free(self.name, short, {}, self.meter)
        if method == "POST" and short in self.media:
            return self._media(short, headers, body)
        api = self.apis.get(short) if method == "POST" else None
        if api is None:
            raise self._not_governed(method, path)
        fields = read_object(body)
        if api is FREE:
            return read_free(self.name, short, fields, self.meter)
        return read_request(self.name, api, short, fields, headers, self.meter)

    def _media(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[Ask, Request]:
        if path == _SPEECH:
            fields = read_object(body)
            return read_speech(self.name, path, fields, by_character=self.speech_by_character)
        if path == _GENERATIONS:
            return read_generation(self.name, path, read_object(body))
        form = read_form(headers.get("content-type", ""), body)
        if path == _EDITS:
            return read_edit(self.name, path, form)
        return read_transcription(self.name, path, form, least_ms=self.least_audio_ms)

    def _stored(self, method: str, path: str, query: str, items: bool) -> tuple[Ask, Request]:
        """A response that was stored: nothing is made, and nothing billed."""
        if method not in ("GET", "DELETE") or (method == "DELETE" and (items or query)):
            raise self._not_governed(method, path)
        if not _STORED_QUERY.fullmatch(query):
            raise self._not_governed(method, f"{path}?…")
        return read_free(self.name, f"{path}?{query}" if query else path, {}, self.meter)

    def _not_governed(self, method: str, path: str) -> Refusal:
        governed = ", ".join(f"/v1{path}" for path in (*self.apis, *self.media))
        return Refusal(
            "path_not_governed",
            f"{method[:10]!a} on {path[:100]!a} can't be priced, so it is not let through: "
            f"governed are {governed}",
        )

    def _short(self, path: str) -> str:
        for version in self.versions:
            if path.startswith(version):
                return path[len(version) - 1 :]
        return path

    def meter(self, answering: Answering) -> Meter:
        """A meter for one answer."""
        if answering.api == FREE.name:
            return FreeBody()
        if answering.api == EMBEDDINGS.name:
            return EmbeddingsBody()
        if answering.api == RESPONSES.name:
            made = ResponsesStream if answering.streamed else ResponsesBody
            return made(answering.search_fee, answering.fees)
        return ChatStream(answering.strip) if answering.streamed else ChatBody()

    def reported(self, usage: bytes, model: str) -> Reported | None:
        """A usage object as a caller hands it on."""
        found = self.usage_in(usage, model)
        return None if found is None else Reported(found)

    def usage_in(self, told: bytes, model: str) -> Usage | None:
        """The usage as this provider means it."""
        return any_usage(told)

    def answered(self, answer: bytes) -> Meter | None:
        """A whole answer as a caller hands it on."""
        told = read_json(answer)
        meter = meter_of(told, self.meter) if isinstance(told, dict) else None
        if meter is None:
            return None
        meter.feed(answer)
        meter.close()
        if meter.usage is not None:
            meter.usage = with_fees(meter.usage, told)
        return meter

    def refusal(self, reason: str, message: str, status: int | None = None) -> tuple[int, bytes]:
        """Status and body of a refusal. 400 where nothing else is said: it is the one status
        that no client of this wire asks again on."""
        return status or _STATUS.get(reason, 400), json.dumps(_error(reason, message)).encode()

    def stream_error(self, api: str, reason: str, message: str) -> bytes:
        """The event that ends a stream so that the SDK raises."""
        event = _error(reason, message)
        if api != RESPONSES.name:
            return b"data: " + json.dumps(event).encode() + b"\n\n"
        named = {"type": "error", "code": reason, "message": message, "param": None, **event}
        return b"event: error\ndata: " + json.dumps(named).encode() + b"\n\n"


def _error(reason: str, message: str) -> dict[str, object]:
    kind = _TYPE.get(reason, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": reason}}
