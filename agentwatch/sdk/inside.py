"""Code that runs inside of a session: of a `with`, or of each call of a function."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from agentwatch.sdk.session import Session

F = TypeVar("F", bound=Callable[..., Any])

#: the sessions of the `with`s that this thread's or task's code runs in, the innermost last
_around: contextvars.ContextVar[tuple[Session, ...]] = contextvars.ContextVar(
    "agentwatch_sessions", default=()
)


def ambient() -> Session | None:
    """The session that this code runs in."""
    return next(reversed(_around.get()), None)


def enter(session: Session) -> None:
    """From here on, this thread or task runs in it."""
    _around.set((*_around.get(), session))


def leave(session: Session) -> None:
    """It does no longer; nothing, where it was entered by another."""
    around = _around.get()
    at = next((at for at in reversed(range(len(around))) if around[at] is session), None)
    if at is not None:
        _around.set((*around[:at], *around[at + 1 :]))


@contextlib.contextmanager
def _inside(session: Session) -> Iterator[None]:
    enter(session)
    try:
        yield
    finally:
        leave(session)


def governed(function: F, new: Callable[[], Session]) -> F:
    """`function`, each call of which runs in a `new` session."""
    if inspect.isasyncgenfunction(function):
        made = _async_generator(function, new)
    elif inspect.isgeneratorfunction(function):
        made = _generator(function, new)
    elif inspect.iscoroutinefunction(function):

        async def made(*args: Any, **kwargs: Any) -> Any:
            with new():
                return await function(*args, **kwargs)
    else:

        def made(*args: Any, **kwargs: Any) -> Any:
            with new():
                return function(*args, **kwargs)

    return cast(F, functools.wraps(function)(made))


def _generator(function: Callable[..., Any], new: Callable[[], Session]) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        with new() as session:
            # who iterates is not inside
            leave(session)
            return (yield from _Steps(function(*args, **kwargs), session))

    return made


class _Steps(Generator[Any, Any, Any]):
    """A generator whose own code runs in a session, and not what runs between its steps."""

    def __init__(self, body: Generator[Any, Any, Any], session: Session) -> None:
        self._body = body
        self._session = session

    def send(self, value: Any) -> Any:
        with _inside(self._session):
            return self._body.send(value)

    def throw(self, *error: Any) -> Any:
        with _inside(self._session):
            return self._body.throw(*error)


def _async_generator(
    function: Callable[..., Any], new: Callable[[], Session]
) -> Callable[..., Any]:
    async def made(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with new() as session:
            leave(session)
            body = function(*args, **kwargs)
            try:
                step = functools.partial(body.asend, None)
                while True:
                    try:
                        with _inside(session):
                            value = await step()
                    except StopAsyncIteration:
                        return
                    try:
                        step = functools.partial(body.asend, (yield value))
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = functools.partial(body.athrow, error)
            finally:
                with _inside(session):
                    await body.aclose()

    return made
