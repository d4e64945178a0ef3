"""Who calls: session tokens, AgentWatch keys, and what a wrapped process may do."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_plus

from agentwatch.core.accounts import Session
from agentwatch.core.ids import SESSION_ID
from agentwatch.core.money import parse_usd
from agentwatch.daemon.keys import Keys
from agentwatch.errors import Refusal, UsageError
from agentwatch.store.store import Store

TOKEN_PREFIX = "aws_"  # noqa: S105 - the form of a token, not one
KEY_PREFIX = "awk_"

#: where clients put their credential: header -> what stands before it
SLOTS = ("Authorization", "x-api-key", "api-key", "x-goog-api-key")
_BEARER = "Bearer "
_BEARER_SLOT = ("Authorization", _BEARER)
#: where a provider looks for its key, if not there
_USUAL_SLOTS = {"anthropic": ("x-api-key", ""), "gemini": ("x-goog-api-key", "")}
#: who takes it in the query; others may repeat the address, key and all, in an error
_TAKES_QUERY = ("gemini",)
#: processes between a peer and the wrapper that it may come from
_MOST_ANCESTORS = 64

_UNKNOWN = (
    "AgentWatch: no session token (aws_…) and no AgentWatch key (awk_…) came with this request. "
    'Start the program with `agentwatch run -- CMD`, or `eval "$(agentwatch env)"` first'
)


class Credential(NamedTuple):
    """What was presented, and the header (and what stands before it there) that it came in; a
    field of the query has a "?" before its name."""

    value: str
    slot: tuple[str, str]


def new_token() -> tuple[str, str]:
    """A session's token, and its SHA-256 by which it is known."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()


def presented(headers: Mapping[str, str], query: str) -> Credential | None:
    """The first credential of ours, in any of the slots; else the first of any kind."""
    found = [credential for name in SLOTS if (credential := _in_header(headers, name))]
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name == "key" and value:
            found.append(Credential(unquote_plus(value), ("?key", "")))
    ours = (each for each in found if each.value.startswith((TOKEN_PREFIX, KEY_PREFIX)))
    return next(ours, found[0] if found else None)


def session_of_token(store: Store, token: str) -> Session | None:
    """The session whose door this token opens. The token itself is not kept: its hash is looked
    up, and compared in constant time."""
    shown = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    session_id = store.ledger.tokens.get(shown)
    if session_id is None:
        return None
    session = store.ledger.session(session_id)
    known = any(hmac.compare_digest(shown, sha256) for sha256 in session.tokens)
    return session if known else None


def identify(
    store: Store,
    keys: Keys,
    headers: Mapping[str, str],
    query: str,
    path_token: str | None,
    provider: str,
) -> tuple[Session, tuple[str, str]]:
    """The session that a call is charged to, and the slot that its credential came in; where it
    came in the path, the one in which `provider` looks for it.

    Raises Refusal(unknown_credential | session_mismatch).
    """
    credential = presented(headers, query)
    slot = _slot(credential, provider)
    named = headers.get("x-agentwatch-session-id")
    if credential is not None and credential.value.startswith(KEY_PREFIX):
        return _session_of_key(store, keys, credential.value, headers, named), slot
    token = credential.value if credential else ""
    if not token.startswith(TOKEN_PREFIX) and path_token is not None:
        token = path_token
    session = session_of_token(store, token) if token.startswith(TOKEN_PREFIX) else None
    if session is None:
        raise Refusal("unknown_credential", _UNKNOWN)
    if named is not None and named != session.name:
        raise Refusal(
            "session_mismatch",
            "AgentWatch: this token belongs to another session than x-agentwatch-session-id says",
        )
    return session, slot


def _slot(credential: Credential | None, provider: str) -> tuple[str, str]:
    usual = _USUAL_SLOTS.get(provider, _BEARER_SLOT)
    if credential is None:
        return usual
    in_query = credential.slot[0].startswith("?")
    return usual if in_query and provider not in _TAKES_QUERY else credential.slot


def _session_of_key(
    store: Store, keys: Keys, key: str, headers: Mapping[str, str], named: str | None
) -> Session:
    if keys.agentwatch_key(key) is None:
        raise Refusal("unknown_credential", _UNKNOWN)
    if named is None:
        raise Refusal(
            "unknown_credential",
            "AgentWatch: beside an AgentWatch key, x-agentwatch-session-id must name the session",
        )
    if not SESSION_ID.fullmatch(named):
        raise Refusal("bad_request", "AgentWatch: x-agentwatch-session-id is no session id")
    known = store.ledger.sessions.get(named)
    budget = headers.get("x-agentwatch-budget-usd")
    if known is not None and budget is None:
        return known
    try:
        session, _ = store.open_session(
            named,
            ceiling=None if budget is None else parse_usd(budget, "x-agentwatch-budget-usd"),
            mode=headers.get("x-agentwatch-mode") or None,
            project=headers.get("x-agentwatch-project") or None,
            team=headers.get("x-agentwatch-team") or None,
        )
    except UsageError as error:
        raise Refusal("bad_request", f"AgentWatch: {error}") from None
    return session


def _in_header(headers: Mapping[str, str], name: str) -> Credential | None:
    value = headers.get(name)
    if not value:
        return None
    if name != "Authorization":
        return Credential(value.strip(), (name, ""))
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "bearer":
        return None
    return Credential(rest.strip(), (name, _BEARER))


class Wrappers:
    """The processes that wrap a command. Each is known by its number and its start: the number
    of one that has ended may be anybody's."""

    def __init__(self) -> None:
        self._started: dict[int, int] = {}

    def add(self, pid: int) -> None:
        """Know process `pid` for a wrapper while it lives."""
        self._started = {each: start for each, start in self._started.items() if self._is(each)}
        self._started[pid] = _stat(pid)[1]

    def wrap(self, pid: int) -> bool:
        """Whether process `pid` was started, at any remove, by one of them."""
        if not self._started:
            return False
        for _ in range(_MOST_ANCESTORS):
            pid = _stat(pid)[0]
            if self._is(pid):
                return True
            if pid <= 1:
                return False
        return True

    def _is(self, pid: int) -> bool:
        return pid in self._started and self._started[pid] == _stat(pid)[1]


def _stat(pid: int) -> tuple[int, int]:
    """A process's parent, and when it started in ticks since the machine did; zeros for none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0, 0
    fields = stat.rpartition(b")")[2].split()
    return int(fields[1]), int(fields[19])
