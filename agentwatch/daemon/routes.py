"""The control path's table: what a row is, how one is found, what its handler is asked and says.

Each part of the door (`control_*.py`) brings its own rows; control.py serves them all.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
from aiohttp import web

from agentwatch.core.accounts import Session
from agentwatch.core.money import to_usd
from agentwatch.daemon.log import scrub
from agentwatch.errors import JournalUnavailable, Refusal
from agentwatch.store.store import Written

Answer = dict[str, Any]

#: a session in a path
ID = r"(?P<id>[A-Za-z0-9][A-Za-z0-9._:-]{0,127})"


class Asked(NamedTuple):
    """A control call: what it names, what it brought, who made it."""

    request: web.BaseRequest
    names: Mapping[str, str]
    body: dict[str, Any]
    #: the session that the caller is wrapped in; None: a person
    inside: Session | None

    @property
    def query(self) -> str:
        """What stands behind the question mark, as it came."""
        return self.request.raw_path.partition("?")[2]

    @property
    def follows(self) -> bool:
        """Whether the answer is to be kept open (?follow=1)."""
        return "follow=1" in self.query.split("&")


Do = Callable[[Asked], Awaitable[Answer | web.StreamResponse]]


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


def find(routes: Iterable[Route], method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The row of a call, and what its path names. Raises Refusal (404, 405)."""
    methods = []
    for route in routes:
        found = route.path.fullmatch(path)
        if found and route.method == method:
            return route, {key: unquote(value) for key, value in found.groupdict().items()}
        if found:
            methods.append(route.method)
    if methods:
        raise Refusal("bad_request", f"{path[:100]!a} takes {', '.join(methods)}", status=405)
    raise Refusal("bad_request", f"there is nothing at {path[:100]!a}", status=404)


def not_from_inside() -> Refusal:
    """The refusal of what a wrapped process may not do."""
    return Refusal(
        "not_from_inside",
        "from inside a wrapped session its own state can be read and its budget lowered, "
        "nothing else: ask the person who started it",
        status=403,
    )


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


def json_answer(status: int, answer: Answer) -> web.Response:
    """An answer in JSON."""
    return web.Response(
        status=status, body=msgspec.json.encode(answer), content_type="application/json"
    )


def error_answer(
    status: int, code: str, message: str, standing: tuple[int, int] | None = None
) -> web.Response:
    """An error in the shape of the control path; `standing` as Refusal has it."""
    # a path or a field's name is repeated in some messages, and may hold a key
    error: Answer = {"message": scrub(message), "code": code}
    if standing is not None:
        error |= {"spent_usd": to_usd(standing[0]), "limit_usd": to_usd(standing[1])}
    return json_answer(status, {"error": error})
