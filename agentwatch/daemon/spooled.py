"""Takes in what the SDK kept on disk of calls that went out while no daemon was there.

A file is one call; its id is the call's id in the ledger, so that it is charged once, however often
the file is read. It is removed once the charge is written down. What can't be read is set aside in
`rejected`, and told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agentwatch.core.accounts import Session
from agentwatch.core.estimate import Quote
from agentwatch.core.money import parse_usd
from agentwatch.core.seen import Seen
from agentwatch.core.usage import Usage
from agentwatch.daemon.bases import Bases
from agentwatch.daemon.elsewhere import UNKNOWN_SERVER, UNPRICED, Bill, Elsewhere
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.preflight import asked_of, told_charge, told_of
from agentwatch.daemon.quoting import Charge, charge, priced, quote_for
from agentwatch.errors import JournalUnavailable, Refusal, UsageError
from agentwatch.pricing.own_rules import uplift_thousandths
from agentwatch.settings import Settings
from agentwatch.wire.dialect import Ask, Dialect
from agentwatch.wire.json_object import LARGEST

logger = logging.getLogger(__name__)

#: the folder is looked at so often
EVERY_S = 1.0
#: a call whose process can't be asked about any more is over after so long
OVER_AFTER_S = 3600.0
_LONGEST_BYTES = 262_144
#: why these calls were not held for
CAUSE = "daemon_away"


class Kept(Struct, forbid_unknown_fields=True):
    """One file: a call that went out (`ask`), and what was seen of its answer. `seen` is absent
    until it is over, and empty where nothing could be read."""

    version: int
    id: str
    at: float
    pid: int
    session_id: str
    terms: dict[str, Any]
    ask: dict[str, Any]
    #: the client's base URL, where that is not the public one of the provider that `ask` names
    base: str = ""
    seen: dict[str, Any] | None = None
    seconds: float = 0.0


class Spooled:
    """The folder of this home."""

    def __init__(
        self,
        governor: Governor,
        elsewhere: Elsewhere,
        dialects: Mapping[str, Dialect],
        settings: Settings,
    ) -> None:
        self._governor = governor
        self._store = governor.store
        self._elsewhere = elsewhere
        self._dialects = dialects
        self._settings = settings
        self._folder = settings.paths.spool
        self._bases = Bases(settings)

    async def watch(self) -> None:
        """Take in what comes, for good."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.take_all()

    async def take_all(self) -> None:
        """Take in what is there. A file that can't be is left, or set aside; none stops others."""
        for path in await asyncio.to_thread(_listed, self._folder):
            try:
                kept = await asyncio.to_thread(_read, path)
                if kept is not None and await self._take(kept):
                    await asyncio.to_thread(path.unlink, missing_ok=True)
            except JournalUnavailable:
                return
            except Exception as error:  # whatever is in it: an agent can write here as well
                logger.error("%s can't be taken in, and is set aside: %s", path.name, error)
                await asyncio.to_thread(_set_aside, path)

    async def _take(self, kept: Kept) -> bool:
        """Charge one call; True once that is written down for good."""
        if kept.seen is None and _goes_on(kept, self._store.now()):
            return False
        session = self._session(kept)
        bill = self._bill(kept)
        written = self._elsewhere.charge(session, bill, kept.id, CAUSE)
        if written is not None:
            await written
        return self._store.failed is None

    def _session(self, kept: Kept) -> Session:
        known = self._store.ledger.sessions.get(kept.session_id)
        if known is not None:
            return known
        terms = kept.terms
        parent = terms.get("parent")
        session, _ = self._store.open_session(
            kept.session_id,
            ceiling=None if "budget_usd" not in terms else parse_usd(terms["budget_usd"]),
            mode=terms.get("mode"),
            project=terms.get("project"),
            team=terms.get("team"),
            parent=parent if parent in self._store.ledger.sessions else None,
        )
        return session

    def _bill(self, kept: Kept) -> Bill:
        wanted = kept.ask.get("wanted")
        ask = msgspec.convert(kept.ask, Ask) if wanted is None else asked_of(wanted, self._dialects)
        if not kept.base:
            return self._bill_of(kept, ask)
        place = self._bases.find(ask.provider, kept.base)
        if place is None:
            return self._nobody_s(kept, ask)
        return self._bill_of(kept, replace(ask, provider=place.provider))

    def _nobody_s(self, kept: Kept, ask: Ask) -> Bill:
        """A call to a server that the configuration does not name: what it asks is not known, so
        the charge is what was to be held for it at the dearest provider that has the model."""
        logger.error("a call of %s went to a server that no configuration names", kept.session_id)
        names = dict.fromkeys((ask.provider, *self._settings.provider_names))
        known = [name for name in names if self._governor.book.find(name, ask.model)]
        asks = [_as_of(name, ask, kept.base) for name in known]
        bills = [self._bill_of(kept, each, unnamed=True) for each in asks or [ask]]
        return max(bills, key=lambda bill: bill.charge.nanos)

    def _bill_of(self, kept: Kept, ask: Ask, *, unnamed: bool = False) -> Bill:
        """`unnamed`: nobody knows the server, so that it is charged no less than its worst case."""
        book = self._governor.book
        try:
            price = priced(ask, book)
            quoted = quote_for(ask, price, self._settings.provider(ask.provider).auto_tier)
        except Refusal as refusal:
            logger.error("a call of %s passed, and has no price: %s", kept.session_id, refusal)
            cost, usage = Charge(0, "estimate", ask.model, 0, 0, UNPRICED), None
        else:
            cost, usage = self._cost(kept, ask, quoted, unnamed=unnamed)
        return Bill(ask=ask, charge=cost, usage=usage, at=kept.at, seconds=kept.seconds)

    def _cost(
        self, kept: Kept, ask: Ask, quoted: Quote, *, unnamed: bool
    ) -> tuple[Charge, Usage | None]:
        most = quoted.whole
        if most is None:
            most = quoted.worst(self._settings.enforcement.useful_output_tokens)
        found, usage = self._told_cost(kept, ask, quoted, most)
        if unnamed:
            nanos = max(found.nanos, most)
            found = replace(found, nanos=nanos, basis="estimate", reason=UNKNOWN_SERVER)
        return found, usage

    def _told_cost(
        self, kept: Kept, ask: Ask, quoted: Quote, most: int
    ) -> tuple[Charge, Usage | None]:
        seen, book = kept.seen or {}, self._governor.book
        if seen.get("told") is not None:
            told = told_of(self._dialects[ask.provider], ask.model, {"usage": seen["told"]})
            return told_charge(ask, quoted, most, told, book), told.usage if told else None
        if not seen or "told" in seen:
            why = "nobody told how the call ended"
            return Charge(most, "estimate", ask.model, ask.input_bound, 0, why), None
        readings = msgspec.convert(seen, Seen)
        if "wanted" in kept.ask:
            charged = told_charge(ask, quoted, most, readings, book)
        else:
            charged = charge(ask, quoted, most, readings, book, kept.seconds)
        return charged, readings.usage


def _as_of(provider: str, ask: Ask, base: str) -> Ask:
    """The same call as one of this provider, of which the address may be a dearer region."""
    uplift = max(ask.uplift_thousandths, uplift_thousandths(provider, base))
    return replace(ask, provider=provider, uplift_thousandths=uplift)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError:
        return []


def _read(path: Path) -> Kept | None:
    """One file of this user's; None where it has gone meanwhile. Raises what take_all catches."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise UsageError("it is no file of this user's")
        data = file.read(_LONGEST_BYTES + 1)
    kept = msgspec.json.decode(data, type=Kept)
    if kept.version != 1 or path.stem != kept.id or not kept.id.isalnum() or len(kept.id) > 64:
        raise UsageError("it is of another version, or another call's")
    _check_counts([kept.ask, kept.seen, kept.seconds, kept.pid])
    return kept


def _check_counts(told: Any) -> None:
    """Nothing that is counted is negative, or beyond all counting: the file of a call that gives
    money back was forged. Raises UsageError."""
    if isinstance(told, dict):
        told = list(told.values())
    if isinstance(told, list):
        for each in told:
            _check_counts(each)
    elif isinstance(told, (int, float)) and not 0 <= told <= LARGEST:
        raise UsageError("it has a count that can't be meant")


def _set_aside(path: Path) -> None:
    folder = path.parent / "rejected"
    folder.mkdir(mode=0o700, exist_ok=True)
    path.replace(folder / path.name)


def _goes_on(kept: Kept, now: float) -> bool:
    """Whether the process that made the call may still be reading its answer."""
    if now - kept.at > OVER_AFTER_S:
        return False
    try:
        os.kill(kept.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return time.time() >= kept.at
