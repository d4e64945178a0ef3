"""The journal's entries: everything that ever happens to money or to a session's state.

An entry is written once and never changed. Balances are a fold of entries (`ledger.Ledger.apply`);
each entry is chained to the one before by `chained`, so that a changed, lost or inserted row tells.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

GENESIS = b"\0" * 32


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Common to all: `at`, seconds since 1970, as the daemon's clock had it."""

    at: float


class Opened(Entry, frozen=True, tag="opened"):
    """A session was opened."""

    session: str
    ceiling: int | None = None
    mode: str = "enforce"
    project: str | None = None
    team: str | None = None
    on_anomaly: str = "alert"
    #: what a part of the daemon that is down means to this session; None: as configured
    fail_open: bool | None = None
    #: the session that this one is a part of
    parent: str | None = None
    #: seconds since 1970 after which the session is closed; None: never
    expires_at: float | None = None


class TokenMinted(Entry, frozen=True, tag="token"):
    """One more token opens the door for a session; only its SHA-256 is kept."""

    session: str
    sha256: str


class CeilingSet(Entry, frozen=True, tag="ceiling"):
    """A session's ceiling, or the monthly one of `project:NAME` or `team:NAME`, is now this."""

    account: str
    ceiling: int | None = None


class StateSet(Entry, frozen=True, tag="state"):
    """A session was paused, resumed, killed, closed, or found exhausted."""

    session: str
    state: str
    reason: str = ""


class Held(Entry, frozen=True, tag="held"):
    """Money was set aside on all `accounts` for one call, before anything was sent."""

    hold: str
    session: str
    accounts: tuple[str, ...]
    nanos: int
    iteration: int
    provider: str = ""
    model: str = ""
    #: the output limit that was put into the request
    limit: int | None = None
    #: the caller reaches the provider itself: the call does not come through the daemon
    elsewhere: bool = False
    #: the lane of its prompt (prompt_sizes.lane_key), and the prompt's tokens where the caller has
    #: counted them
    lane: str = ""
    input_tokens: int = 0


class Extended(Entry, frozen=True, tag="extended"):
    """A stream went on past its hold, and `nanos` more were set aside for it."""

    hold: str
    nanos: int


class Settled(Entry, frozen=True, tag="settled"):
    """A call's hold was replaced by what it cost.

    `basis` is usage | estimate | crash | late; `seconds` from hold to settle; `price_version`
    names the price table that the amount was reckoned by.
    """

    hold: str
    nanos: int
    basis: str
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    price_version: str = ""
    reason: str = ""


class Voided(Entry, frozen=True, tag="voided"):
    """A call's hold was given back: it is certain that nothing was billed."""

    hold: str
    reason: str


class Adjusted(Entry, frozen=True, tag="adjusted"):
    """A late report showed that a settled call cost `nanos` more. The old entry stays."""

    hold: str
    session: str
    accounts: tuple[str, ...]
    nanos: int
    evidence: str


AnyEntry = (
    Opened | TokenMinted | CeilingSet | StateSet | Held | Extended | Settled | Voided | Adjusted
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEntry] = msgspec.json.Decoder(AnyEntry)


def sound(text: str) -> str:
    """The text; where it is no Unicode (it has half of a surrogate pair), with "?" for that: no
    row could be made of it, nor of those that are written with it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def encode(entry: AnyEntry) -> bytes:
    """An entry as the JSON that the journal keeps."""
    return _encoder.encode(entry)


def decode(data: bytes) -> AnyEntry:
    """The entry in the journal's JSON. Raises msgspec.ValidationError or DecodeError."""
    return _decoder.decode(data)


def chained(previous: bytes, data: bytes) -> bytes:
    """The hash of a row: SHA-256 over the hash of the row before and this row's bytes."""
    return hashlib.sha256(previous + data).digest()


def kind(entry: AnyEntry) -> str:
    """What an entry is called in the journal: opened, held, settled …"""
    return str(type(entry).__struct_config__.tag)


def subject(entry: AnyEntry) -> str:
    """What a row is found by: its hold, else its session or account."""
    if isinstance(entry, (Held, Extended, Settled, Voided, Adjusted)):
        return entry.hold
    if isinstance(entry, CeilingSet):
        return entry.account
    return entry.session
