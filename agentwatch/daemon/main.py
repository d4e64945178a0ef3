"""The serving process: the only place where all rooms meet.

Started by the supervisor with listening sockets, the providers' keys and a pipe on which it says
that it serves. SIGTERM ends it: new calls wait in the sockets' backlog for the next process, those
that are out may end within their grace, and what is left is settled.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from agentwatch import __version__, draining
from agentwatch.core.prices import PriceBook
from agentwatch.daemon import failpoints, log
from agentwatch.daemon.channels import channels_of
from agentwatch.daemon.control import Control
from agentwatch.daemon.courier import Courier
from agentwatch.daemon.doors import Door
from agentwatch.daemon.events import Events
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.handover import Handover
from agentwatch.daemon.hygiene import not_dumpable, raise_file_limit
from agentwatch.daemon.keys import Keys
from agentwatch.daemon.proxy import Proxy
from agentwatch.daemon.spooled import Spooled
from agentwatch.daemon.tasks import Tasks
from agentwatch.daemon.telemetry import Telemetry
from agentwatch.daemon.upstream import Upstream, open_session
from agentwatch.daemon.watch import Watch
from agentwatch.errors import AgentWatchError
from agentwatch.pricing import load_book
from agentwatch.settings import Settings, load_settings
from agentwatch.store.alerts import AlertStore
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store
from agentwatch.wire.anthropic import Anthropic
from agentwatch.wire.dialect import Dialect
from agentwatch.wire.gemini import Gemini
from agentwatch.wire.groq import Groq
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.own import WIRES
from agentwatch.wire.xai import XAI

logger = logging.getLogger(__name__)

BACKLOG = 4096
#: the key file and the price list are looked at so often
KEYS_CHECK_S = 0.5
PRICES_CHECK_S = 600.0
#: descriptors for files and the like; of the others each door may fill a quarter, as a call takes
#: one at the door and one on the way out
SPARE_FILES = 64
FEWEST_CONNECTIONS = 16
#: sysexits' EX_CONFIG: starting again would fail again
EXIT_CONFIG = 78
#: a connection that was just opened may take so long to send its request, when the daemon stops
NEW_SPARED_S = 0.5
#: what calls that are ended at the stop may take to say so; within the supervisor's margin
LAST_WORDS_S = 2.5
#: what the next process may take until it serves
START_S = 10.0
#: how long a thread that computes may keep the others waiting
SWITCH_S = 0.0005
#: the supervisor is to read the configuration again, and start another process
EXIT_REREAD = 75


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the process's exit code."""
    not_dumpable()
    failpoints.arm()
    arguments = _arguments(argv)
    try:
        handover = Handover.from_pipe(arguments.keys_fd)
        settings = load_settings(read=handover.read)
        settings.paths.prepare()
        keys = _keys(settings, handover)
        log.configure(settings.log.level, keys.values())
        return _run(_serve(settings, keys, handover, arguments))
    except AgentWatchError as error:
        print(f"agentwatch: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return EXIT_CONFIG if error.exit_code in (2, EXIT_CONFIG) else 1


def dialects(own: Mapping[str, str] | None = None) -> dict[str, Dialect]:
    """Every wire that is spoken, by its provider's name; `own` are the user's providers and
    what each speaks."""
    spoken: tuple[Dialect, ...] = (OpenAI(), Anthropic(), Gemini(), Groq(), XAI())
    known = {dialect.name: dialect for dialect in spoken}
    return known | {name: WIRES[wire](name) for name, wire in (own or {}).items()}


def book_of(settings: Settings, handover: Handover) -> PriceBook:
    """The price book of this home, by the user's prices as they were handed over.

    Reads files; takes half a second when it must be compiled.
    """
    book = load_book(
        settings.paths.cache_dir,
        settings.paths.prices_file,
        upstreams={name: settings.upstream(name) for name in settings.provider_names},
        read=handover.read,
    )
    return book.with_unknown(settings.prices.unknown_nanos_per_mtok)


def _run(serving: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(serving)
    return uvloop.run(serving)


async def _serve(
    settings: Settings, keys: Keys, handover: Handover, arguments: argparse.Namespace
) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, 0)
    store = Store(SqliteJournal(settings.paths.ledger, settings.ledger.durability))
    for outcome in await store.open():
        logger.warning("settled after a crash: hold %s of %s", outcome.hold, outcome.session)
    tasks = Tasks()
    async with open_session() as session:
        spoken = dialects(settings.own_wires)
        ways = {name: Upstream(name, settings.upstream(name), session) for name in spoken}
        book = partial(book_of, settings, handover)
        events = Events()
        alerts = AlertStore(settings.paths.alerts)
        courier = Courier(alerts, channels_of(settings.alerts), store.now)
        watch = Watch(store, alerts, settings.anomalies, events, courier.channels)
        await watch.open()
        telemetry = Telemetry(settings, Tasks(), store.count_risks)
        governor = Governor(store, book(), ways, keys, settings, tasks, events, watch, telemetry)
        daemon = Daemon(
            governor, spoken, keys, settings, tasks, book, partial(end, EXIT_REREAD), courier
        )
        await daemon.listen(arguments.port_fd, arguments.socket_fd)
        draining.end(str(settings.paths.socket))
        telemetry.open()
        _rarely_collect()
        _switch_often()
        _say_ready(arguments.ready_fd)
        code = await ended
        await daemon.stop(settings.daemon.stop_grace_s)
        await telemetry.close()
    await store.close()
    await watch.alerts.close()
    return code


class Daemon:
    """The doors, and what goes on behind them while they are open."""

    def __init__(
        self,
        governor: Governor,
        spoken: dict[str, Dialect],
        keys: Keys,
        settings: Settings,
        tasks: Tasks,
        book: Callable[[], PriceBook],
        restart: Callable[[], None],
        courier: Courier,
    ) -> None:
        self._book = book
        self._courier = courier
        self._governor = governor
        self._keys = keys
        self._settings = settings
        self._tasks = tasks
        self._proxy = Proxy(governor, spoken, keys, settings)
        self._control = Control(
            governor, keys, settings, self.about, restart, courier, spoken, tasks
        )
        self._spooled = Spooled(governor, self._control.elsewhere, spoken, settings)
        self._port = 0
        self._started_at = time.time()
        self._servers: list[asyncio.Server] = []
        self._doors: list[Door] = []
        self._chores: list[asyncio.Task[None]] = []

    def about(self) -> dict[str, Any]:
        """Who serves, and where."""
        paths = self._settings.paths
        return {
            "running": True,
            "pid": os.getpid(),
            "port": self._port,
            "socket": str(paths.socket),
            "version": __version__,
            "state_url": f"sqlite:{paths.ledger}",
            "started_at": self._started_at,
            "prices": self._governor.book.version,
        }

    async def listen(self, port_fd: int, socket_fd: int) -> None:
        """Open the doors on sockets that listen already."""
        # before any call: what is spent already is known first
        await self._spooled.take_all()
        loop = asyncio.get_running_loop()
        port_socket, unix_socket = socket.socket(fileno=port_fd), socket.socket(fileno=socket_fd)
        for sock in (port_socket, unix_socket):
            sock.setblocking(False)
        self._port = self._proxy.bases.port = port_socket.getsockname()[1]
        most = max(FEWEST_CONNECTIONS, (raise_file_limit() - SPARE_FILES) // 4)
        on_port = Door(self._handler(self._port), self._settings.doors, most)
        framed = self._control.framed
        on_socket = Door(self._handler(None), self._settings.doors, most, framed)
        self._doors = [on_port, on_socket]
        self._servers = [
            await loop.create_server(on_port, sock=port_socket, backlog=BACKLOG),
            await loop.create_unix_server(on_socket, sock=unix_socket, backlog=BACKLOG),
        ]
        self._chores = [
            self._tasks.spawn(self._watch_keys(), "keys"),
            self._tasks.spawn(self._watch_prices(), "prices"),
            self._tasks.spawn(self._courier.run(self._governor.watch.told), "courier"),
            self._tasks.spawn(self._spooled.watch(), "spool"),
        ]

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, let those that are out end, end and settle what is left."""
        latest = time.time() + grace_s + LAST_WORDS_S + START_S
        draining.begin(str(self._settings.paths.socket), latest)
        for server in self._servers:
            server.close()
        for chore in self._chores:
            chore.cancel()
        await self._until_idle(grace_s)
        self._governor.stop()
        await self._tasks.end(LAST_WORDS_S)
        for door in self._doors:
            await door.shutdown(1.0)

    async def _until_idle(self, grace_s: float) -> None:
        """Let end what has begun, be it that a request is only half read."""
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < grace_s:
            busy = [door.close_idle(spare_new=passed < NEW_SPARED_S) for door in self._doors]
            if not any(busy) and not self._tasks:
                return
            await asyncio.sleep(0.01)

    def _handler(self, port: int | None) -> Any:
        proxy, control = self._proxy, self._control

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            target = proxy.target(request.raw_path)
            if target is not None:
                return await proxy.handle(request, target, port)
            return await control.handle(request, port)

        return handle

    async def _watch_keys(self) -> None:
        while True:
            await asyncio.sleep(KEYS_CHECK_S)
            await asyncio.to_thread(self._keys.refresh)

    async def _watch_prices(self) -> None:
        """Dated prices change on their day, without a restart."""
        while True:
            await asyncio.sleep(PRICES_CHECK_S)
            stale_at = self._governor.book.stale_at
            if stale_at is not None and time.time() >= stale_at:
                self._governor.book = await asyncio.to_thread(self._book)


def _switch_often() -> None:
    """Reading a large body in a thread must not keep the loop from what others wait for: asked for
    it, Python lets go of its lock after 5 ms only, a dozen times a call."""
    sys.setswitchinterval(SWITCH_S)


def _rarely_collect() -> None:
    """What was loaded stays, so the collector need not look at it again; and calls leave few
    cycles behind, so it need not look often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="agentwatch.daemon.main")
    for name in ("--port-fd", "--socket-fd", "--keys-fd", "--ready-fd"):
        parser.add_argument(name, type=int, required=True)
    return parser.parse_args(argv)


def _keys(settings: Settings, handover: Handover) -> Keys:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Keys(
        settings.paths.keys_file,
        handover.keys,
        Path(folder) if folder else None,
        names=settings.provider_names,
        keyless=[name for name in settings.own_providers if not settings.provider(name).needs_key],
    )


def _say_ready(descriptor: int) -> None:
    with contextlib.suppress(OSError), os.fdopen(descriptor, "wb") as pipe:
        pipe.write(json.dumps({"pid": os.getpid()}).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
