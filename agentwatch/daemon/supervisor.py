"""Keeps one serving process alive behind listening sockets that never close.

    stopped --spawn--> starting --ready line--> serving
       ^                  |                        |
       |<-----death-------'<-----------death-------'      spawned again at once
    ended <-- TERM, INT; exit 0 (it was told to stop), 78 (its configuration is wrong)

Exit 75 has the configuration read again: the process that serves knows whether a person asked for
it, or an agent. USR1 (and HUP, but for a terminal's) replaces the process alone. The old one ends
its calls first, as one ledger has one writer, while new calls wait in the sockets' backlog. This
program starts fast and stays small: standard library and settings.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType

from msgspec import Struct
from msgspec.structs import replace

from agentwatch.daemon.handover import Handover
from agentwatch.daemon.hygiene import notify_systemd
from agentwatch.daemon.listening import Listening

logger = logging.getLogger(__name__)

CHILD = (sys.executable, "-P", "-m", "agentwatch.daemon.main")

EXIT_DONE = 0
EXIT_FAILED = 1
#: sysexits' EX_CONFIG: starting it again would fail again
EXIT_CONFIG = 78
#: a person asked the process that served to have the configuration read again
EXIT_REREAD = 75

#: waits before the next start, by how many processes died young in a row
BACK_OFF_S = (0.0, 0.1, 0.5, 2.0)
YOUNG_S = 1.0
#: one that had begun to serve was killed: it counts for so many at most, as calls wait for the next
MOST_AFTER_SERVING = 2
#: given to the process beyond its own grace, before it is killed
STOP_MARGIN_S = 8.0
#: so many failures before the first readiness, and the start has failed
START_TRIES = 3

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be supervised, and how."""

    handover: Handover
    lock_fd: int
    stop_grace_s: float
    command: Sequence[str] = CHILD
    hangup_stops: bool = False
    #: told the pid of each process that has begun to serve, and since when its configuration is so
    on_ready: Callable[[int, float], None] = lambda pid, config_at: None
    #: the handover with the configuration's files as they are now
    reread: Callable[[Handover], Handover] = lambda handover: handover

    def __repr__(self) -> str:
        return f"Plan(command={list(self.command)}, stop_grace_s={self.stop_grace_s})"


class Signals:
    """Signals as a readable descriptor, for the time of a `with`."""

    def __enter__(self) -> Signals:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._before = {number: signal.signal(number, _note) for number in _HANDLED}
        self._fd_before = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._receiver.close()
        self._sender.close()

    def wait(self, timeout_s: float | None, *others: int) -> tuple[set[int], set[int]]:
        """Wait for signals or for a readable one of `others`: (signals, readable)."""
        sources = [self._receiver.fileno(), *others]
        readable = set(select.select(sources, [], [], timeout_s)[0])
        if self._receiver.fileno() not in readable:
            return set(), readable
        readable.discard(self._receiver.fileno())
        return set(self._receiver.recv(4096)), readable


def _note(number: int, frame: FrameType | None) -> None:
    """Nothing here: the number arrives through the wake-up descriptor."""


class Child:
    """One serving process, and the pipe on which it says that it serves."""

    def __init__(self, plan: Plan, listening: Listening) -> None:
        ready, ready_child = os.pipe()
        keys_child = plan.handover.to_pipe()
        handed = {
            "--port-fd": listening.port_socket.fileno(),
            "--socket-fd": listening.unix_socket.fileno(),
            "--keys-fd": keys_child,
            "--ready-fd": ready_child,
        }
        arguments = [text for name, fd in handed.items() for text in (name, str(fd))]
        try:
            self._process = subprocess.Popen(
                [*plan.command, *arguments],
                stdin=subprocess.DEVNULL,
                # the lock goes along: while it serves without us, a second daemon is kept out
                pass_fds=(*handed.values(), plan.lock_fd),
                # Ctrl-C in a terminal is for us, who then end it in order
                process_group=0,
            )
        except OSError:
            os.close(ready)
            raise
        finally:
            os.close(keys_child)
            os.close(ready_child)
        self.pid = self._process.pid
        self.started_at = time.monotonic()
        self.ready = False
        #: None while it runs
        self.status: int | None = None
        self.ready_fd: int | None = ready
        self._said = b""

    @property
    def age_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.started_at

    def send(self, number: int) -> None:
        """Send it a signal, while it has not been waited for."""
        if self.status is None:
            os.kill(self.pid, number)

    def look(self) -> None:
        """Take note of what became of it. One that somebody stopped is made to go on: a stopped
        daemon would hang every call."""
        while self.status is None:
            pid, raw = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return
            if os.WIFSTOPPED(raw):
                logger.warning("the serving process %d was stopped: it goes on", self.pid)
                self.send(signal.SIGCONT)
            else:
                self.status = self._process.returncode = os.waitstatus_to_exitcode(raw)

    def hear(self) -> bool:
        """Read what it says on its pipe; True once, when it serves."""
        if self.ready_fd is None:
            return False
        data = os.read(self.ready_fd, 4096)
        self._said += data
        if not data or b"\n" in self._said:
            self.close()
            self.ready = b"\n" in self._said
        return self.ready

    def close(self) -> None:
        """Close the pipe."""
        if self.ready_fd is not None:
            os.close(self.ready_fd)
            self.ready_fd = None


class Supervisor:
    """Runs until it is told to stop, or until the serving process says that it is done."""

    def __init__(self, plan: Plan, listening: Listening) -> None:
        self._plan = plan
        self._listening = listening
        self._stop_on = {signal.SIGTERM, signal.SIGINT}
        self._replace_on = {signal.SIGUSR1}
        (self._stop_on if plan.hangup_stops else self._replace_on).add(signal.SIGHUP)
        self._stopping = False
        self._replacing = False
        self._kill_at: float | None = None
        self._ever_ready = False
        #: what was handed over before the configuration was read again; None once it has served
        self._before: Handover | None = None
        self._died_young = 0
        self._failed_starts = 0

    def run(self) -> int:
        """Supervise; the exit code for the process."""
        with Signals() as signals:
            while True:
                code = self._one_life(signals)
                if code is not None:
                    return code
                if self._pause(signals):
                    return EXIT_DONE

    def _one_life(self, signals: Signals) -> int | None:
        try:
            return self._verdict(self._one_child(signals))
        except OSError as error:
            # out of processes or descriptors: a supervisor that ends of it would mend nothing
            logger.error("no process could be started: %s", error.strerror)
            self._died_young += 1
            return None

    def _one_child(self, signals: Signals) -> Child:
        """Start a process and stay with it until it is gone."""
        if self._listening.keep_reachable():
            logger.warning("the socket %s was gone: it was made again", self._listening.path)
        child = Child(self._plan, self._listening)
        self._kill_at = None
        self._replacing = False
        try:
            while child.status is None:
                self._step(signals, child)
        finally:
            child.close()
        return child

    def _step(self, signals: Signals, child: Child) -> None:
        pipe = () if child.ready_fd is None else (child.ready_fd,)
        got, readable = signals.wait(self._time_left(), *pipe)
        if readable and child.hear():
            self._serves(child)
        # looked at before anything is sent: its number may be another process's once it is gone
        child.look()
        if got & self._replace_on and not self._stopping:
            self._replacing = True
            self._end(child)
        if got & self._stop_on:
            self._stop(child, impatient=signal.SIGINT in got and self._stopping)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            logger.warning("the serving process %d did not end in time: killed", child.pid)
            child.send(signal.SIGKILL)
            self._kill_at = None

    def _time_left(self) -> float | None:
        return None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())

    def _serves(self, child: Child) -> None:
        self._ever_ready = True
        self._failed_starts = 0
        self._before = None
        logger.info("serving: pid %d, port %d", child.pid, self._listening.port)
        self._plan.on_ready(child.pid, self._plan.handover.read_at)
        notify_systemd("READY=1")

    def _stop(self, child: Child, *, impatient: bool) -> None:
        notify_systemd("STOPPING=1")
        if impatient:
            child.send(signal.SIGKILL)
        elif not self._stopping:
            self._stopping = True
            self._end(child)

    def _end(self, child: Child) -> None:
        child.send(signal.SIGTERM)
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._plan.stop_grace_s + STOP_MARGIN_S

    def _verdict(self, child: Child) -> int | None:
        """The exit code if this was the last process, None if another is to be started."""
        status = child.status
        if self._stopping:
            return EXIT_DONE
        if self._replacing:
            logger.info("the serving process %d ended and is replaced", child.pid)
            return None
        if status == EXIT_REREAD:
            logger.info(
                "the serving process %d is replaced, the configuration read again", child.pid
            )
            self._before = self._plan.handover
            self._plan = replace(self._plan, handover=self._plan.reread(self._before))
            self._replacing = True
            return None
        if status == EXIT_CONFIG and self._before is not None:
            logger.error("the configuration that was read again is wrong: the one before it counts")
            self._plan = replace(self._plan, handover=self._before)
            self._before = None
            return None
        if status in (EXIT_DONE, EXIT_CONFIG):
            logger.info(
                "the serving process %d ended with %s: not started again", child.pid, status
            )
            return status
        logger.warning("the serving process %d died (%s): started again", child.pid, status)
        if not child.ready and status is not None and status > 0:
            self._failed_starts += 1
        if not self._ever_ready and self._failed_starts >= START_TRIES:
            logger.error("it did not come up in %d tries: given up", START_TRIES)
            return EXIT_FAILED
        self._died_young = self._young_in_row(child)
        return None

    def _young_in_row(self, child: Child) -> int:
        if child.age_s >= YOUNG_S:
            return 0
        in_row = self._died_young + 1
        return min(in_row, MOST_AFTER_SERVING) if child.ready else in_row

    def _pause(self, signals: Signals) -> bool:
        """Wait before the next start, if the last ones died young; whether to stop instead."""
        if self._replacing:
            return False
        deadline = time.monotonic() + back_off_s(self._died_young)
        while (left := deadline - time.monotonic()) > 0:
            got, _ = signals.wait(left)
            if got & self._stop_on:
                return True
        return False


def back_off_s(died_young: int) -> float:
    """How long to wait after so many processes in a row died within a second of their start."""
    return BACK_OFF_S[min(max(died_young - 1, 0), len(BACK_OFF_S) - 1)]
