"""What every provider's wire gives to the daemon: the protocols Dialect and Meter, the value Ask.

A dialect is pure. It reads a request (path and body) into an Ask, writes the request that is
sent upstream out of the fields that were read, and hands out a Meter that is fed a copy of the
answer. It knows its provider's error shapes. It never sees a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from agentwatch.core.anomaly import Step
from agentwatch.core.usage import Usage
from agentwatch.wire.fingerprint import InputMarks


class Ask(Struct, kw_only=True):
    """One request as it was read: everything that bears on its price, and how to write it again."""

    provider: str
    #: "chat", "responses", "completions", "embeddings", …
    api: str
    #: path and query that go upstream, below the provider's base URL ("/chat/completions")
    upstream_path: str
    model: str
    #: tokens of input that the request's own bytes can never exceed (template overhead and
    #: media included)
    input_bound: int
    #: the part of input_bound that is no text (template, images): to be added to a tokenizer's
    #: count of Request.text()
    input_overhead: int = 0
    #: input that is not in the body (previous_response_id …): only the context window bounds it
    input_by_reference: bool = False
    #: how often the server may go on by itself after its first answer (a hosted tool's result is
    #: read and answered): only the context window bounds what each of those reads
    rounds: int = 0
    #: True where the API gives out text at all (False: embeddings)
    has_output: bool = True
    #: output may be made, and billed, that the answer never shows, unless the model is known
    #: not to think
    thinks: bool = True
    #: the limit the client set, per choice; None: none
    output_limit: int | None = None
    #: how many answers are made (n, best_of, prompts of a batch)
    choices: int = 1
    #: output that may be billed beside the limit (rejected predicted tokens)
    extra_output: int = 0
    #: thinking may be billed beside the limit that the client set, up to the model's own; a limit
    #: that is put in covers both
    thinks_beside_limit: bool = False
    #: audio may come in / go out: dearer rates are reachable
    audio_in: bool = False
    audio_out: bool = False
    #: images or video may come in or go out: where they have rates of their own
    media: bool = True
    #: what is written to the cache may be kept for longer, at a dearer rate
    cache_write_long: bool = False
    #: the service tier asked for; None: not said
    service_tier: str | None = None
    #: most that may be billed by the piece (calls of hosted tools …), by fee name
    pieces: dict[str, int] = {}
    #: the same work in the units that some models are billed by instead of tokens: audio_ms,
    #: characters, images
    units: dict[str, int] = {}
    #: no field of the request can lower its output: `output_limit` is what may come at most
    fixed_output: bool = False
    #: what the body that goes upstream is written as; the client's own word is not taken for it
    content_type: str = "application/json"
    #: other models that may answer, or be billed beside this one
    also_models: tuple[str, ...] = ()
    #: what tokens may cost more than the price list says (a region), in thousandths
    uplift_thousandths: int = 1000
    stream: bool = False
    #: the stream that was asked for is one JSON array, and no server-sent events
    json_array: bool = False
    #: the thread or lane that the client names, if it does
    thread: str | None = None
    #: fingerprints of its input, by which a loop is known (`input_marks`)
    marks: InputMarks = InputMarks()
    #: free of charge (moderations, count_tokens): let through without a hold
    free: bool = False


class Meter(Protocol):
    """Is fed a copy of one answer's decoded bytes, cut anywhere; never raises for its content."""

    #: what the provider reported; None until it did
    usage: Usage | None
    #: what it reported so far of an answer that may go on: the input is final, the output is not
    begun: Usage | None
    #: the model and tier that answered, where the answer says so
    model: str | None
    service_tier: str | None
    #: an error that came inside a 200
    error: str | None
    #: the answer said that it is complete ([DONE], response.completed …)
    complete: bool
    #: something may be taken out of the answer: what comes encoded is then handed on decoded
    rewrites: bool

    def head(self, headers: Mapping[str, str]) -> None:
        """The answer's headers, before its first byte: some tell the service tier there."""
        ...

    def last_word(self, event: bytes) -> bytes:
        """A dialect's `stream_error`, fitted to what the client has got so far."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the answer; return the bytes that the client is to get.

        They are the same bytes, except where an event that the client did not ask for is taken
        out (then bytes of an event that is not yet complete may be kept back until it is).
        """
        ...

    def close(self) -> bytes:
        """The answer is at its end: what was kept back, if anything."""
        ...

    @property
    def step(self) -> Step | None:
        """Fingerprints of the tools that were called, or of what was said; None: not known."""
        ...

    @property
    def output_floor(self) -> int:
        """Tokens of output that were certainly made: the least that was seen."""
        ...

    @property
    def output_ceiling(self) -> int:
        """Tokens of output that were seen, counted generously: never less than was billed for
        what was seen."""
        ...


class Reported(Struct, frozen=True):
    """What a provider's usage object says by itself, without the answer that it came in."""

    usage: Usage
    #: where it is told there
    service_tier: str | None = None


class Dialect(Protocol):
    """One provider's wire."""

    name: str

    def at(self, path: str) -> Dialect:
        """The wire that is spoken on a path: itself, unless the provider also takes another's
        below some prefix. Its errors are what clients on that path understand."""
        ...

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request. `path` is below the provider's prefix and as it came on the wire.

        Raises Refusal("path_not_governed" | "bad_request" | "model_not_priced").
        """
        ...

    def reported(self, usage: bytes, model: str) -> Reported | None:
        """Read a usage object (JSON) as this provider tells it on any of its paths, handed on by
        whoever called it. None where it is none, or can't be believed."""
        ...

    def answered(self, answer: bytes) -> Meter | None:
        """A meter that has read a whole answer (JSON) of any of its paths, handed on by whoever
        called; what the request would have told is taken at its dearest. None where it is none."""
        ...

    def refusal(self, reason: str, message: str, status: int | None = None) -> tuple[int, bytes]:
        """Status and JSON body of a refusal in this provider's own error shape."""
        ...

    def stream_error(self, api: str, reason: str, message: str) -> bytes:
        """The bytes that end a stream so that this provider's SDK raises."""
        ...


class Request(Protocol):
    """A request that was read and can be written again."""

    def body(self, output_limit: int | None = None) -> bytes:
        """The request to send upstream, with `output_limit` put in where it is given."""
        ...

    def text(self) -> str | None:
        """All text that is billed as input, for a tokenizer; None where bytes are the only
        bound (media, or text of unknown shape)."""
        ...

    def meter(self, streamed: bool) -> Meter:
        """A new meter for this request's answer; `streamed` tells whether the upstream's answer
        is server-sent events."""
        ...
