"""Money for calls that the caller makes itself: held before, settled or given back afterwards.

    with session.hold("openai", "gpt-4o", max_output_tokens=500) as hold:
        answer = my_gateway(...)
        hold.settle(answer)

A hold of which nothing was told is settled in full: its call was, or may have been, sent.
"""

from __future__ import annotations

import contextlib
import json
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from agentwatch.errors import AgentWatchError, DaemonUnavailable, UsageError
from agentwatch.sdk.denial import Denial, whose
from agentwatch.sdk.line import Unheard
from agentwatch.sdk.loops import elsewhere
from agentwatch.sdk.spool import Spool

if TYPE_CHECKING:
    from agentwatch.sdk.session import Session


#: what asking ends with where nobody can have heard it
_UNHEARD = (FileNotFoundError, ConnectionRefusedError, Unheard)


class Wanted(NamedTuple):
    """A call that is to be held for. Tokens; None: not known, taken at its worst."""

    provider: str
    model: str
    input_tokens: int | None = None
    max_output_tokens: int | None = None


class Hold:
    """One call's money, from `with` to its end. Amounts in USD."""

    def __init__(self, session: Session, wanted: Wanted) -> None:
        self._session = session
        self._wanted = wanted
        self._spool: Spool | None = None
        self._ended = False
        #: None: the daemon was away, and the call goes ungoverned
        self.id: str | None = None
        self.held_usd = 0.0
        self.iteration = 0

    def __enter__(self) -> Hold:
        try:
            return self._begun(self._session.admit(can_go_alone=True))
        except DaemonUnavailable as error:
            if not isinstance(error.__cause__, _UNHEARD):
                raise
        return self._begun(self._session.admit(can_go_alone=True, anew=True))

    def _begun(self, verdict: Any) -> Hold:
        if isinstance(verdict, Denial):
            raise _error(verdict)
        from agentwatch.sdk.session import Straight

        if isinstance(verdict, Straight):
            self._spool = Spool.of(self._session.terms)
            return self
        wanted = {key: value for key, value in self._wanted._asdict().items() if value is not None}
        told = self._asked("", {"session_id": self._session.id, **wanted})
        self._session.heard(None, verdict.known)
        self.id, self.held_usd = str(told["hold_id"]), float(told["held_usd"])
        self.iteration = int(told["iteration"])
        return self

    def settle(self, answer: Any = None) -> None:
        """The call is over, and this is the provider's whole answer (with the fees that stand
        beside its usage), or the usage out of it, as its SDK's objects or as JSON. None: it told
        nothing, and the whole hold is charged. Raises AgentWatchError where it is neither."""
        self._end("settle", told_of(answer))

    def void(self) -> None:
        """Nothing was sent: give the money back."""
        self._end("void", {})

    def _end(self, verb: str, body: dict[str, Any]) -> None:
        if self._ended:
            return
        if self._spool is not None:
            self._keep(verb, body)
        elif self.id is not None:
            self._asked(f"/{self.id}/{verb}", body)
        else:
            raise UsageError("a hold is ended inside of its `with`")
        self._ended = True

    def _keep(self, verb: str, body: dict[str, Any]) -> None:
        assert self._spool is not None
        if verb != "settle":
            return
        seen: dict[str, Any] | None = {"told": body.get("usage")}
        if "answer" in body:
            from agentwatch.sdk.straight import seen_in

            # what was said is nothing for a file
            seen = seen_in(self._wanted.provider, body["answer"])
        if seen is None:
            raise UsageError(f"no usage of {self._wanted.provider} is in this answer")
        self._spool.held_elsewhere(self._session, self._wanted._asdict(), seen)

    def _asked(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        session = self._session
        said = session.door.ask("POST", "/v1/holds" + path, body, session.credential)
        if said.status < 300:
            return said.body
        denial = _denial(said.status, said.body, session.id)
        if said.status >= 500:
            raise DaemonUnavailable(denial.message)
        session.heard(denial)
        raise _error(denial)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # where the daemon has gone meanwhile, it settles the hold in full by itself
        with contextlib.suppress(DaemonUnavailable):
            self._end("settle", {})


class AsyncHold:
    """The same for `async with`: the loop goes on while the daemon is asked."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._lock = threading.Lock()
        self._is_in = self._is_left = False

    @property
    def id(self) -> str | None:
        """The hold's id; None: the daemon was away, and the call goes ungoverned."""
        return self._hold.id

    @property
    def held_usd(self) -> float:
        """What is held."""
        return self._hold.held_usd

    async def __aenter__(self) -> AsyncHold:
        try:
            await elsewhere(self._enter)
        except BaseException:
            with self._lock:
                self._is_left, is_in = True, self._is_in
            if is_in:
                await elsewhere(self._give_back, always=True)
            raise
        return self

    def _enter(self) -> None:
        """In a thread, which goes on where the task that waits for it is cancelled."""
        self._hold.__enter__()
        with self._lock:
            self._is_in, is_left = True, self._is_left
        if is_left:
            self._give_back()

    def _give_back(self) -> None:
        with contextlib.suppress(AgentWatchError):
            self._hold.void()

    async def settle(self, answer: Any = None) -> None:
        """See Hold.settle."""
        await elsewhere(lambda: self._hold.settle(answer), always=True)

    async def void(self) -> None:
        """See Hold.void."""
        await elsewhere(self._hold.void, always=True)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await elsewhere(lambda: self._hold.__exit__(kind, error, trace), always=True)


#: where an answer has its usage
_USAGE_IN = ("usage", "usageMetadata", "usage_metadata", "x_groq")
#: what says nothing of an answer's cost (what was said, a picture, a vector) goes nowhere
_LONGEST_TEXT = 1024


def told_of(told: Any) -> dict[str, Any]:
    """What the daemon is told of a call: its whole answer, its usage, or nothing. Raises
    UsageError."""
    if told is None:
        return {}
    try:
        said = _short(plain(told))
        json.dumps(said)
    except (TypeError, ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise UsageError(f"a hold is settled by a provider's answer, and {type(told)} is none")
    if any(name in said for name in _USAGE_IN):
        return {"answer": said}
    return {"usage": said}


def plain(told: Any) -> Any:
    """A provider's object as the JSON that it came as."""
    if isinstance(told, (str, bytes)):
        with contextlib.suppress(ValueError):
            return json.loads(told)
    if callable(dump := getattr(told, "model_dump", None)):
        # by the names of the wire, which google's objects have others for
        return dump(mode="json", by_alias=True, exclude_none=True, warnings=False)
    for name in ("to_dict", "_asdict"):
        made = getattr(told, name, None)
        if callable(made):
            return {key: value for key, value in made().items() if value is not None}
    return told


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value if not isinstance(each, float)]
    return value


def _denial(status: int, body: dict[str, Any], session_id: str) -> Denial:
    error = body.get("error")
    told = error if isinstance(error, dict) else {}
    message = str(told.get("message") or f"the daemon answered {status}")
    spent, limit = (float(told.get(name) or 0.0) for name in ("spent_usd", "limit_usd"))
    refusing = whose(told.get("account"), session_id)
    return Denial(str(told.get("code") or ""), message, refusing, spent, limit)


def _error(denial: Denial) -> AgentWatchError:
    return denial.error() or AgentWatchError(denial.message)
