"""The account that calls are charged to: opened when the first call goes, and asked before each.

`Session.admit` says which way a call goes: through the daemon, straight to the provider as the
daemon is away, or nowhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple

from agentwatch.errors import AgentWatchError, DaemonUnavailable, UsageError
from agentwatch.sdk import inside, leaving
from agentwatch.sdk.denial import LASTING, UNAVAILABLE, Denial, cut
from agentwatch.sdk.door import Door, find_door
from agentwatch.sdk.forks import ForkLock
from agentwatch.sdk.holds import AsyncHold, Hold, Wanted
from agentwatch.sdk.inside import F
from agentwatch.sdk.route import Way
from agentwatch.sdk.terms import (
    TIMEOUT_S,
    Terms,
    fails_closed,
    new_session_id,
    outer_session,
    terms_of,
)

logger = logging.getLogger("agentwatch")

#: what is above a session that this one is a part of is above it too, and not for it to say
_OUTER_S = ("project", "team", "monthly_usd")
_THE_WHOLE_S = "those of the session that it runs in: say them there"


class Through(NamedTuple):
    """The call goes to the daemon."""

    way: Way
    door: Door
    #: the refusals that were known when it began: one that came later outlives its success
    known: tuple[Denial | None, ...] = ()


class Straight:
    """The call goes to the provider itself, as the daemon is away."""


class Session:
    """An account of its own, a part of the one that this runs in, or that one itself."""

    def __init__(self, terms: Terms, outer: Session | None = None) -> None:
        self.terms = terms
        self.door: Door = outer.door if outer else find_door(os.environ, terms.origin)
        self._outer = outer
        self._joined = outer_session(os.environ) if outer is None and not terms.origin else None
        #: nothing of its own is asked for: calls go on the account that this runs in
        self._is_its_outer = self._joined is not None and (
            terms.session_id in (None, self._joined[0]) and terms.budget_usd is None
        )
        joined = self._joined[0] if self._joined and self._is_its_outer else None
        self.id: str = joined or terms.session_id or new_session_id()
        self._token: str | None = self._joined[1] if self._joined and joined else None
        self._check_above()
        self._lock = ForkLock()
        #: the last refusal that lasts, and the last that a call which began after it got past
        self._denied: Denial | None = None
        self._lifted: Denial | None = None
        self._fails_open = terms.fail_open and not fails_closed(os.environ)
        self._warned = False
        #: one for each `with` that is around something now, in whichever thread or task
        self._entered: list[None] = []
        self._over = False

    def _check_above(self) -> None:
        """What can't be said from inside is told: by a warning in `agentwatch run`, where the
        program may have been written for other places."""
        terms = self.terms
        if terms.origin or not (terms.project or terms.team or terms.monthly_usd is not None):
            return
        if self._outer is not None:
            raise UsageError(f"project, team and month of a part are {_THE_WHOLE_S}")
        if self._joined is not None:
            logger.warning("project, team and month are ignored here: they are %s", _THE_WHOLE_S)

    # ---- may a call go, and which way?

    @property
    def is_ready(self) -> bool:
        """Whether `admit` has nothing to ask, so that it takes no time."""
        return self.door.is_proven and (self._token is not None or self.terms.origin is not None)

    def admit(self, *, can_go_alone: bool, anew: bool = False) -> Through | Straight | Denial:
        """Which way the next call goes. `can_go_alone`: the caller has a key of its own. `anew`: it
        was let through, and nobody has heard it."""
        known = tuple(each._denied for each in self._line())
        if anew:
            self.door.doubt()
        silence = self.door.silence(self.terms.timeout_s)
        if silence is None:
            try:
                return Through(self._way(), self.door, known)
            except DaemonUnavailable as error:
                silence = str(error)
            except AgentWatchError as error:
                return Denial("session_refused", str(error), self.id)
        return self._without_daemon(silence, can_go_alone)

    def _without_daemon(self, silence: str, can_go_alone: bool) -> Straight | Denial:
        for each in self._line():
            if each._refusal is not None:
                return each._refusal
        if not all(each._fails_open for each in self._line()):
            return self._unavailable(f"{silence}, and it fails closed")
        if not can_go_alone:
            return self._unavailable(f"{silence}, and this client has no provider key of its own")
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s: calls of session %s go straight to the provider, ungoverned; what they cost "
                "is told to the daemon when it is back (start it with `agentwatch up`)",
                silence,
                self.id,
            )
        return Straight()

    def _unavailable(self, reason: str) -> Denial:
        message = (
            f"AgentWatch: nothing was sent for session {self.id}: {reason}. "
            "Start the daemon with `agentwatch up`, then try again"
        )
        return Denial(UNAVAILABLE, message, self.id, status=400)

    def heard(self, denial: Denial | None, known: tuple[Denial | None, ...] = ()) -> None:
        """The daemon has answered a call: with this refusal; or with none, to one that began when
        these refusals were `known`, which are over then, here and above."""
        self.door.heard()
        self._warned = False
        if denial is None:
            for each, refusal in zip(self._line(), known, strict=False):
                each._lifts(refusal)
        elif denial.reason in LASTING:
            self._denied = denial
            leaving.stays(self.id)

    def _lifts(self, refusal: Denial | None) -> None:
        if refusal is self._denied:
            self._lifted = refusal

    @property
    def _refusal(self) -> Denial | None:
        return None if self._denied is self._lifted else self._denied

    def is_in(self, other: Session) -> bool:
        """Whether this is the other one, or a part of it."""
        return any(each is other for each in self._line())

    def _line(self) -> Iterator[Session]:
        """This session, and those that it is a part of."""
        each: Session | None = self
        while each is not None:
            yield each
            each = each._outer

    def ended_by(self, reason: str, message: str) -> Denial:
        """The denial that ended a stream half way."""
        denial = cut(reason, message, self.id)
        self.heard(denial)
        return denial

    # ---- the account

    def open(self) -> Session:
        """Open the account now, which the first call does else. Raises AgentWatchError."""
        silence = self.door.silence(self.terms.timeout_s)
        if silence is not None:
            raise DaemonUnavailable(f"{silence}: start it with `agentwatch up`")
        self._way()
        return self

    def _way(self) -> Way:
        if self.terms.origin is not None:
            return Way(self.terms.api_key or "", self._named())
        if self._token is None:
            with self._lock:
                if self._token is None:
                    leaving.close_over(but=self.id)
                    self._token = self._opened()
                    if self._is_nameless:
                        leaving.opened(self, self._token)
        return Way(self._token)

    def _named(self) -> dict[str, str]:
        """Beside an AgentWatch key the port asks with each call whose it is."""
        terms = self.terms
        named = {
            "x-agentwatch-session-id": self.id,
            "x-agentwatch-project": terms.project,
            "x-agentwatch-team": terms.team,
            "x-agentwatch-mode": terms.mode,
            "x-agentwatch-budget-usd": None if terms.budget_usd is None else repr(terms.budget_usd),
        }
        return {name: value for name, value in named.items() if value}

    def _opened(self) -> str:
        body: dict[str, Any] = {"session_id": self.id, **self.terms.body}
        credential = self.credential
        if self._outer is not None:
            body["parent"] = self._outer.open().id
            credential = self._outer._token
        elif self._joined is not None:
            body["parent"], credential = self._joined
        if "parent" in body:
            # what is above the outer session is above this one too, and is not for it to say
            body = {name: body[name] for name in body if name not in _OUTER_S}
        return str(self._ask("POST", "/v1/sessions", body, credential)["token"])

    @property
    def account(self) -> dict[str, Any]:
        """What the daemon needs to know of the account, should it not know it yet."""
        parent = self._outer.id if self._outer else self._joined[0] if self._joined else None
        if parent == self.id:
            return {}
        return {**self.terms.body, **({"parent": parent} if parent else {})}

    @property
    def credential(self) -> str | None:
        return self._token or (self._joined[1] if self._joined else None) or self.terms.api_key

    def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        credential: str | None = None,
        **more: float,
    ) -> dict[str, Any]:
        said = self.door.ask(method, path, body, credential or self.credential, **more)
        if said.status >= 300:
            error = said.body.get("error")
            words = error.get("message") if isinstance(error, dict) else None
            kind = DaemonUnavailable if said.status >= 500 else AgentWatchError
            raise kind(f"{words or f'the daemon answered {said.status}'}")
        return said.body

    @property
    def _is_nameless(self) -> bool:
        """Whether nobody can mean to open it again."""
        return self.terms.session_id is None and not self._is_its_outer

    def close(self) -> None:
        """No further call is meant. A session that was named, or joined, is not closed: others may
        be in it."""
        if self._token is not None and self._is_nameless:
            self._over = True
            leaving.stays(self.id)
            with contextlib.suppress(AgentWatchError):
                self._ask("POST", f"/v1/sessions/{self.id}/close", {})

    # ---- money for calls that the caller makes itself

    def hold(
        self,
        provider: str,
        model: str,
        *,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
    ) -> Hold:
        """Set a call's worst case aside: `with session.hold("openai", "gpt-4o") as hold: …`, then
        `hold.settle(answer.usage)`, or `hold.void()` where nothing was sent.

        Entering raises AgentBudgetExceeded, AgentSessionKilled, AgentBudgetCheckUnavailable.
        """
        return Hold(self, Wanted(provider, model, input_tokens, max_output_tokens))

    def ahold(
        self,
        provider: str,
        model: str,
        *,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
    ) -> AsyncHold:
        """The same for `async with`."""
        return AsyncHold(
            self.hold(
                provider, model, input_tokens=input_tokens, max_output_tokens=max_output_tokens
            )
        )

    # ---- everything that is made inside of it

    def __enter__(self) -> Session:
        from agentwatch.sdk.ambient import govern_new_clients

        if self._over:
            raise UsageError(
                f"session {self.id} ended with its last `with`: make another one, or give it a "
                "session_id, by which it can be entered again"
            )
        govern_new_clients()
        self._entered.append(None)
        inside.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        inside.leave(self)
        self._entered.pop()
        if not self._entered:
            self.close()

    async def __aenter__(self) -> Session:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Each call of `function` has a session of its own, of these terms; one of a generator
        function, around its own code and not around what is done between its steps."""
        return inside.governed(function, lambda: Session(self.terms, inside.ambient()))


def session(
    budget_usd: float | None = None,
    *,
    session_id: str | None = None,
    project: str | None = None,
    team: str | None = None,
    monthly_budget_usd: float | None = None,
    enforcement: bool | None = None,
    fail_open: bool = True,
    api_key: str | None = None,
    ingest_url: str | None = None,
    timeout_seconds: float = TIMEOUT_S,
) -> Session:
    """An account of its own for everything inside of it: a context manager and a decorator.

    All supported clients that are made inside are governed. Inside another one, or inside
    `agentwatch run`, it is a part of that: what it spends is spent there too, and its ceiling
    comes on top. `enforcement=False` only counts. Raises UsageError.
    """
    terms = terms_of(
        agentwatch_api_key=api_key,
        agentwatch_project=project,
        agentwatch_team=team,
        agentwatch_session_id=session_id,
        agentwatch_session_budget_usd=budget_usd,
        agentwatch_monthly_budget_usd=monthly_budget_usd,
        agentwatch_enforcement_mode=enforcement,
        agentwatch_enforcement_fail_open=fail_open,
        ingest_url=ingest_url,
        timeout_seconds=timeout_seconds,
    )
    return Session(terms, inside.ambient())
