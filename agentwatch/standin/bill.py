"""The stand-in's own books: every request that reached it, and what each cost.

Money is worked out from the counts whenever it is asked for, so that a bill read in mid-answer
already has all tokens that were made by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import msgspec
from msgspec import Struct


class Entry(Struct, kw_only=True):
    """One request. Counts are tokens; `ended` is None while it is being answered."""

    id: str
    method: str
    path: str
    started_at: float
    #: the provider that was meant, and what it bills for an entry like this one, in nano-USD
    provider: str | None = None
    reckon: Callable[[Entry], int] | None = None
    api: str | None = None
    requested_model: str | None = None
    #: the model that answered, which is billed
    model: str | None = None
    tier: str = "default"
    stream: bool = False
    limit: int | None = None
    choices: int = 1
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning: int = 0
    cached: int = 0
    written: int = 0
    searches: int = 0
    #: what only some providers count, by names of their own
    extra: dict[str, int] = {}
    credential_ok: bool = False
    #: input is billed from the moment when the request was accepted
    accepted: bool = False
    status: int = 0
    ended: str | None = None
    ended_at: float | None = None
    in_flight: int = 0
    #: names of the request's headers, never their values
    headers: list[str] = []
    #: "header authorization: aws_": where something stood that should never have left the daemon
    leaks: list[str] = []

    @property
    def nanos(self) -> int:
        """What it cost up to now, in nano-USD."""
        if not self.accepted or self.reckon is None:
            return 0
        return self.reckon(self)

    def line(self) -> dict[str, Any]:
        """Its row in the bill."""
        return {
            "id": self.id,
            "provider": self.provider,
            "model": self.model,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cached": self.cached,
            "nanos": self.nanos,
            "ended": self.ended,
            "credential_ok": self.credential_ok,
        }

    def record(self) -> dict[str, Any]:
        """All that is known of it."""
        names = [name for name in self.__struct_fields__ if name != "reckon"]
        return {name: getattr(self, name) for name in names} | {"nanos": self.nanos}


class Bill:
    """All requests since the start or the last reset. Keeps the last `keep` in detail."""

    def __init__(self, keep: int = 100_000, path: Path | None = None) -> None:
        self._keep = keep
        self._file: TextIO | None = path.open("a", buffering=1) if path else None
        self._serial = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything, apart from the requests' numbering."""
        self._open: dict[str, Entry] = {}
        self._ended: deque[Entry] = deque(maxlen=self._keep)
        self.requests = self.refused = self.wrong_key = self.websockets = 0
        self._ended_nanos = self._working = self.max_in_flight = 0

    def start(self, method: str, path: str, at: float) -> Entry:
        """A request came in."""
        self._serial += 1
        entry = Entry(id=f"req-{self._serial:06d}", method=method, path=path, started_at=at)
        self.requests += 1
        self._open[entry.id] = entry
        return entry

    def accept(self, entry: Entry) -> None:
        """The request is being worked on, and billed from now on."""
        entry.accepted = True
        if entry.id in self._open:
            self._working += 1
        entry.in_flight = self._working
        self.max_in_flight = max(self.max_in_flight, self._working)

    def end(self, entry: Entry, how: str, at: float) -> None:
        """The request is over. Ending one again changes nothing."""
        if entry.ended is not None:
            return
        entry.ended, entry.ended_at = how, at
        if self._open.pop(entry.id, None) is None:
            return  # from before a reset
        self.refused += entry.status >= 300
        self._working -= entry.accepted
        self._ended_nanos += entry.nanos
        self._ended.append(entry)
        if self._file:
            self._file.write(msgspec.json.encode(entry.record()).decode() + "\n")

    def close(self, at: float) -> None:
        """The stand-in stops: what is open ends here."""
        for entry in list(self._open.values()):
            self.end(entry, "shutdown", at)
        if self._file:
            self._file.close()

    def entries(self) -> list[Entry]:
        """The requests in the order in which they came, as far as they are kept."""
        return sorted([*self._ended, *self._open.values()], key=lambda entry: entry.id)

    def summary(self) -> dict[str, Any]:
        """The bill, as the control endpoint gives it out."""
        return {
            "requests": self.requests,
            "billed_nanos": self._ended_nanos + sum(e.nanos for e in self._open.values()),
            "refused": self.refused,
            "wrong_key": self.wrong_key,
            "websockets": self.websockets,
            "in_flight": len(self._open),
            "max_in_flight": self.max_in_flight,
            "leaks": sorted({leak for entry in self.entries() for leak in entry.leaks}),
            "by_request": [entry.line() for entry in self.entries()],
        }
