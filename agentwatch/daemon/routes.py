"""The control path's table: what a row is, how one is found, what its handler is asked and says.

Each part of the door (`control_*.py`) brings its own rows; control.py serves them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from agentwatch.core.accounts import Session
from agentwatch.core.money import to_usd
from agentwatch.daemon.log import scrub
from agentwatch.errors import (
    AgentWatchError,
    JournalUnavailable,
    LedgerError,
    Refusal,
    Standing,
    UnknownAccount,
    UnknownHold,
    UsageError,
)
from agentwatch.store.store import Written

Answer = dict[str, Any]

#: a session in a path
ID = r"(?P<id>[A-Za-z0-9][A-Za-z0-9._:-]{0,127})"


class Asked(NamedTuple):
    """A control call: what it names, what it brought, who made it."""

    names: Mapping[str, str]
    #: what stands behind the question mark, as it came
    query: str
    body: dict[str, Any]
    #: the session that the caller is wrapped in; None: a person
    inside: Session | None
    #: the process that calls, where the kernel tells
    pid: int | None
    #: None: it came in a frame, in which no answer is kept open
    request: web.BaseRequest | None

    @property
    def follows(self) -> bool:
        """Whether the answer is to be kept open (?follow=1)."""
        return "follow=1" in self.query.split("&")

    @property
    def stream(self) -> web.BaseRequest:
        """The request, to answer it bit by bit. Raises Refusal where it came in a frame."""
        if self.request is None:
            raise only_over_http()
        return self.request


class Said(NamedTuple):
    """An answer, and its status."""

    status: int
    answer: Answer


Told = Answer | Said | web.StreamResponse
#: what is asked often, and waits for nothing, need be no coroutine
Do = Callable[[Asked], Told | Coroutine[Any, Any, Told]]


class Route(NamedTuple):
    """One row of the contract's table. `inside`: a wrapped process may call it for its own
    session; `port`: also served on the data port, to who shows an AgentWatch key (or to all)."""

    method: str
    path: re.Pattern[str]
    do: Do
    inside: bool = False
    port: bool = False
    anybody: bool = False


def row(
    method: str,
    path: str,
    do: Do,
    *,
    inside: bool = False,
    port: bool = False,
    anybody: bool = False,
) -> Route:
    """A row whose path is a regular expression; its named groups are the call's names."""
    return Route(method, re.compile(path, re.ASCII), do, inside, port, anybody)


class Table:
    """Rows, and the one that a call means."""

    def __init__(self, rows: Iterable[Route]) -> None:
        self.rows = tuple(rows)
        named = {(each.method, each.path.pattern): each for each in self.rows}
        #: those whose path names nothing need no search
        self._plain = {key: row for key, row in named.items() if _PLAIN.fullmatch(key[1])}

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The row of a call, and what its path names. Raises Refusal (404, 405)."""
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain, {}
        methods = []
        for route in self.rows:
            found = route.path.fullmatch(path)
            if found and route.method == method:
                return route, {key: unquote(value) for key, value in found.groupdict().items()}
            if found:
                methods.append(route.method)
        if methods:
            raise Refusal("bad_request", f"{path[:100]!a} takes {', '.join(methods)}", status=405)
        raise Refusal("bad_request", f"there is nothing at {path[:100]!a}", status=404)


_PLAIN = re.compile("[a-z0-9/-]+")


def not_from_inside() -> Refusal:
    """The refusal of what a wrapped process may not do."""
    return Refusal(
        "not_from_inside",
        "from inside a wrapped session its own state can be read and its budget lowered, "
        "nothing else: ask the person who started it",
        status=403,
    )


def only_over_http() -> Refusal:
    """The refusal of what no frame can answer."""
    return Refusal("bad_request", "this is answered over HTTP only", status=400)


async def in_force(written: Written) -> None:
    """Wait until what a person told is written down. Raises Refusal where it can't be: it holds
    all the same, which he is not to doubt."""
    try:
        await written
    except JournalUnavailable as error:
        raise Refusal(
            "governance_unavailable",
            f"this is in force, but would be forgotten if the daemon ended now: {error}",
            status=503,
        ) from error


def said_of(error: AgentWatchError) -> Said:
    """What is said of a call that failed."""
    if isinstance(error, Refusal):
        return _failed(error.status or 403, error.reason, error.message, error.standing)
    found = (each for each in _FAILURES if isinstance(error, each[0]))
    _, status, code = next(found, (AgentWatchError, 500, "failed"))
    return _failed(status, code, str(error))


#: the first that fits
_FAILURES = (
    (UnknownAccount, 404, "unknown_session"),
    (UnknownHold, 404, "unknown_hold"),
    (UsageError, 400, "bad_request"),
    (JournalUnavailable, 503, "governance_unavailable"),
    (LedgerError, 409, "conflict"),
)


def _failed(status: int, code: str, message: str, standing: Standing | None = None) -> Said:
    """An error in the shape of the control path; `standing` as Refusal has it."""
    # a path or a field's name is repeated in some messages, and may hold a key
    error: Answer = {"message": scrub(message), "code": code}
    if standing is not None:
        error |= {
            "account": standing.account,
            "spent_usd": to_usd(standing.spent),
            "limit_usd": to_usd(standing.limit),
        }
    return Said(status, {"error": error})
