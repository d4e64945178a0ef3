"""Clients that are made inside `with agentwatch.session(…)` are governed, whoever makes them.

The constructors of the supported clients are looked after from the first such `with` on: a client
that is made while a session is open in that thread or task becomes a watched one (`wrap`). Outside
of a session nothing is done to it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.abc
import importlib.machinery
import logging
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from agentwatch.errors import UsageError
from agentwatch.sdk.forks import ForkLock
from agentwatch.sdk.inside import ambient

logger = logging.getLogger("agentwatch")

#: module -> the client classes in it
CLIENTS = {
    "openai": ("OpenAI", "AsyncOpenAI"),
    "anthropic": ("Anthropic", "AsyncAnthropic"),
    "groq": ("Groq", "AsyncGroq"),
    "google.genai": ("Client",),
}
_lock = ForkLock()
_looked_after: set[str] = set()


def govern_new_clients() -> None:
    """Look after the constructors of what is imported already, and of what will be."""
    with _lock:
        if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
        for name in CLIENTS:
            if name in sys.modules:
                look_after(sys.modules[name])


def look_after(module: ModuleType) -> None:
    """Have the clients of this module asked for their session when they are made."""
    if module.__name__ in _looked_after:
        return
    _looked_after.add(module.__name__)
    for name in CLIENTS[module.__name__]:
        kind = getattr(module, name)
        kind.__init__ = _asking(kind.__init__)


def _asking(made: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(made)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        inside = ambient() is not None and not hasattr(type(self), "_agentwatch_provider")
        if inside:
            _spare_key(self, kwargs)
        made(self, *args, **kwargs)
        if inside:
            _wrap(self)

    return init


def _spare_key(client: Any, arguments: dict[str, Any]) -> None:
    """Let one that will be governed be made without a key, as a watched one can be."""
    from agentwatch.sdk.wrapping import provider_of

    with contextlib.suppress(UsageError):
        module = importlib.import_module(f"agentwatch.sdk.{provider_of(client)}")
        module.spare_key(arguments)


def _wrap(client: Any) -> None:
    from agentwatch.sdk.wrapping import wrap

    try:
        wrap(client)
    except UsageError as error:
        logger.warning("a client is not governed by the session that it was made in: %s", error)


class _Finder(importlib.abc.MetaPathFinder):
    """Sees the SDKs being imported; finding and loading them stays with Python."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in CLIENTS or fullname in _looked_after:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            look_after(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
