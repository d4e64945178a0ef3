"""The wrapped command as a process: started in our place, signalled, waited for, ended.

It shares our process group and terminal, so that interactive programs, Ctrl-C, Ctrl-Z and the
window's size work as if we were not there. What the terminal sends reaches it without us; what
was sent to us with kill(2) is passed on. We are its subreaper, and it dies when we do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from agentwatch.errors import AgentWatchError
from agentwatch.mark import mark_self
from agentwatch_cli.run_tree import descendants, end_all, is_below

Verdict = Literal["killed", "exceeded"]

CANNOT_RUN = 126
NOT_FOUND = 127

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36

#: what is passed on to the command when it was sent to us
FORWARDED = frozenset(
    {
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGALRM,
        signal.SIGCONT,
    }
)
_WATCHED = FORWARDED | {signal.SIGCHLD}

#: how long what the command started may take to notice that it has ended
_GOING_S = 0.4
#: how long a stop of the command must last before we stop too: on `fg` we may wake before it does
_STOP_SETTLES_S = 0.05


class CommandError(AgentWatchError):
    """The command can't be started; `exit_code` is 127 where it is not found, else 126."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Ending(NamedTuple):
    """How the command ended."""

    #: its wait status (os.waitstatus_to_exitcode reads it)
    status: int
    #: why it was ended, where it did not end by itself
    verdict: Verdict | None
    #: descendants that were still there when it ended by itself, and were ended
    left_behind: int
    #: descendants that could not be ended
    unkillable: int

    @property
    def exit_code(self) -> int:
        """0 to 255, or minus the signal that it died of."""
        return os.waitstatus_to_exitcode(self.status)


class WrappedCommand:
    """One command under our care. `start` and `wait` belong to the main thread."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, grace_s: float
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._grace_s = grace_s
        self._main_thread = threading.get_ident()
        self._verdict: Verdict | None = None
        self._status: int | None = None
        self._spared: list[int] = []
        self._terminal = _Terminal()
        self.pid = 0

    def start(self) -> None:
        """Start it. Must come before any thread. Raises CommandError."""
        prctl = _prctl()
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        # the real keys are still in our own environment: the command is not to read them in /proc
        prctl(_PR_SET_DUMPABLE, 0)
        self._spared = descendants(os.getpid())
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            self.pid = self._spawn(_before_exec(prctl, mask))
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            raise _cannot_start(self._command[0], error) from None

    def _spawn(self, before_exec: Callable[[], None]) -> int:
        process = subprocess.Popen(
            self._command, env=self._environment, close_fds=False, preexec_fn=before_exec
        )
        # we wait for it ourselves: Popen must not think that it runs for ever
        process.returncode = 0
        return process.pid

    def stop(self, verdict: Verdict) -> None:
        """End it and all that it started. From any thread; the first verdict counts."""
        self._verdict = self._verdict or verdict
        signal.pthread_kill(self._main_thread, signal.SIGCHLD)

    def wait(self) -> Ending:
        """Pass signals on until it has ended, or was told to; then end all that is left of it."""
        while self._status is None and self._verdict is None:
            self._take(*_next_signal())
        verdict = self._verdict if self._status is None else None
        if verdict is None:
            self._let_go()
        found, unkillable = end_all(self._alive, self._reap, self._grace_s)
        if verdict is not None:
            self._terminal.restore()
        _drain_signals()
        status = self._status if self._status is not None else signal.SIGKILL
        return Ending(status, verdict, 0 if verdict else found, unkillable)

    def _let_go(self) -> None:
        """What is on its way out with the command was not left behind by it."""
        deadline = time.monotonic() + _GOING_S
        while self._verdict is None and self._alive() and time.monotonic() < deadline:
            time.sleep(_GOING_S / 20)
            self._reap()

    def _alive(self) -> list[int]:
        return descendants(os.getpid(), self._spared)

    def _take(self, signum: int, sender: int | None) -> None:
        if signum == signal.SIGCHLD:
            self._reap()
        elif signum == signal.SIGCONT or (sender is not None and not self._is_ours(sender)):
            self._send(signum)

    def _is_ours(self, sender: int) -> bool:
        """A signal that the command sent to its whole group has reached it without us."""
        return sender != 0 and is_below(sender, self.pid)

    def _send(self, signum: int) -> None:
        try:
            os.kill(self.pid, signum)
        except (ProcessLookupError, PermissionError):
            pass

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid != self.pid:
                continue
            if os.WIFSTOPPED(status):
                self._stop_as_well()
            else:
                self._status = status

    def _stop_as_well(self) -> None:
        """A command that stopped itself on a terminal: give the shell its prompt back."""
        if self._verdict is not None or not self._terminal.is_ours():
            return
        if _arrives(signal.SIGCONT, _STOP_SETTLES_S):
            self._send(signal.SIGCONT)
        else:
            os.kill(os.getpid(), signal.SIGSTOP)


class _Terminal:
    """The terminal that we were started on, if any, and its modes at that time."""

    def __init__(self) -> None:
        self._fd = next((fd for fd in (0, 1, 2) if os.isatty(fd)), None)
        self._modes: list[Any] | None = None
        if self._fd is not None:
            import termios

            self._modes = termios.tcgetattr(self._fd)

    def is_ours(self) -> bool:
        """Whether our group is the one in its foreground."""
        try:
            return self._fd is not None and os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False

    def restore(self) -> None:
        """Put its modes back: a program that is killed leaves it raw and without echo."""
        if self._fd is not None and self._modes is not None and self.is_ours():
            import termios

            try:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._modes)
            except termios.error:
                return


def die_of(signum: int) -> None:
    """End this process by `signum`, as the command ended, without a core of our own: a shell
    that runs a loop then stops at Ctrl-C. Returns only where the signal does not end us."""
    import resource

    sys.stdout.flush()
    sys.stderr.flush()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if signum not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})
    os.kill(os.getpid(), signum)


def _prctl() -> Callable[[int, int], None]:
    if sys.platform != "linux":
        return lambda _option, _value: None
    import ctypes

    function = ctypes.CDLL(None, use_errno=True).prctl

    def call(option: int, value: int) -> None:
        function(option, ctypes.c_ulong(value), 0, 0, 0)

    return call


def _before_exec(
    prctl: Callable[[int, int], None], mask: set[int | signal.Signals]
) -> Callable[[], None]:
    """What the child does between fork and exec."""
    parent = os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)
        mark_self()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare


def _cannot_start(name: str, error: OSError) -> CommandError:
    if isinstance(error, FileNotFoundError):
        return CommandError(f"{name}: command not found", NOT_FOUND)
    return CommandError(f"{name}: can't be run: {error.strerror}", CANNOT_RUN)


def _next_signal() -> tuple[int, int | None]:
    """The next signal, and the pid that sent it by kill(2) (None: the terminal or the kernel).

    Without sigwaitinfo (macOS) what a terminal can send is taken to come from it.
    """
    if sys.platform == "linux":
        info = signal.sigwaitinfo(_WATCHED)
        return info.si_signo, info.si_pid if info.si_code <= 0 else None
    signum = signal.sigwait(_WATCHED)
    typed = signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH)
    return signum, None if typed and os.isatty(0) else 0


def _arrives(signum: int, within_s: float) -> bool:
    if sys.platform != "linux":
        return False
    return signal.sigtimedwait({signum}, within_s) is not None


def _drain_signals() -> None:
    """Forget what came meanwhile (the Ctrl-C that ended the command), and take signals again."""
    if sys.platform == "linux":
        while signal.sigtimedwait(_WATCHED, 0) is not None:
            pass
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
