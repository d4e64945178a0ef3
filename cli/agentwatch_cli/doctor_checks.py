"""What `agentwatch doctor` looks at, one function a thing; each yields what it found.

Nothing is changed by looking. What can't be looked at is told, and the next check goes on.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from agentwatch import __version__
from agentwatch.daemonfile import lock_held, read_running, take_lock
from agentwatch.errors import AgentWatchError, DaemonUnavailable, LedgerError, SettingsError
from agentwatch.paths import Paths
from agentwatch.settings import Settings
from agentwatch.store import recovery
from agentwatch_cli.client import Control, ControlError
from agentwatch_cli.launch import check_configuration
from agentwatch_cli.views import local_time

OK, WARN, FAIL = "ok", "warn", "fail"

#: a disk that takes longer than this to have a few bytes for sure makes every call wait for it
SLOW_SYNC_S = 0.020
SYNC_TRIES = 15
LOW_DISK_BYTES = 100 << 20
#: the whole journal is read: some 100,000 entries a second
VERIFY_TIMEOUT_S = 300.0
FEW_FILES = 4096

_PR_GET_CHILD_SUBREAPER = 37


class Check(NamedTuple):
    """One row: what was looked at, how it stands, what was found, what to do about it."""

    name: str
    verdict: str
    found: str
    todo: str = ""


class Patient(Struct, kw_only=True):
    """What is looked at. `settings` is None where they can't be read, `status` where no daemon
    answers."""

    paths: Paths
    settings: Settings | None
    settings_error: str = ""
    status: dict[str, Any] | None = None
    daemon_error: str = ""


def examine(patient: Patient) -> Iterator[Check]:
    """All checks in their order."""
    for look in CHECKS:
        try:
            yield from look(patient)
        except (AgentWatchError, OSError) as error:
            yield Check(look.__name__.strip("_"), FAIL, f"it can't be looked at: {error}")


# ---- the home


def configuration(patient: Patient) -> Iterator[Check]:
    """Can config.toml and the variables be read?"""
    if patient.settings is None:
        yield Check("configuration", FAIL, patient.settings_error, "mend it: nothing starts so")
        return
    file = patient.paths.config_file
    try:
        check_configuration(patient.settings)
    except SettingsError as error:
        yield Check("configuration", FAIL, str(error), "mend it: nothing starts so")
        return
    found = str(file) if file.exists() else "defaults (there is no config.toml)"
    yield Check("configuration", OK, found)


def home(patient: Patient) -> Iterator[Check]:
    """Are the folders there, ours and private?"""
    folders = dict.fromkeys((patient.paths.state_dir, patient.paths.config_file.parent))
    for folder in folders:
        if not folder.exists():
            yield Check("home", OK, f"{folder} is not there yet: the first start makes it")
        else:
            yield _private("home", folder, 0o700)


def files(patient: Patient) -> Iterator[Check]:
    """May only we read what is secret?"""
    paths = patient.paths
    named = (paths.keys_file, paths.socket, paths.log, paths.daemon_file, paths.lock)
    ledger = [Path(f"{paths.ledger}{suffix}") for suffix in recovery.SUFFIXES]
    there = [file for file in (*named, *ledger) if file.exists()]
    checks = [_private("files", file, 0o600) for file in there]
    wrong = [check for check in checks if check.verdict != OK]
    yield from wrong
    if not wrong:
        yield Check("files", OK, f"{len(there)} files, readable by this user only")


def _private(name: str, path: Path, mode: int) -> Check:
    about = path.stat()
    if about.st_uid != os.geteuid():
        todo = "set AGENTWATCH_HOME to a folder of your own"
        return Check(name, FAIL, f"{path} belongs to uid {about.st_uid}", todo)
    if stat.S_IMODE(about.st_mode) & 0o077:
        shown = f"{path} is open to other users ({stat.S_IMODE(about.st_mode):04o})"
        return Check(name, FAIL, shown, f"chmod {mode:o} {path}")
    return Check(name, OK, str(path))


# ---- the daemon


def daemon(patient: Patient) -> Iterator[Check]:
    """Is one running, one alone, of this version, with a supervisor?"""
    held = lock_held(patient.paths.lock)
    if patient.status is None:
        yield _absent(patient, held)
        return
    about = f"pid {patient.status.get('pid')}, http://127.0.0.1:{patient.status.get('port')}"
    if not held:
        todo = "end it (`kill PID`), then `agentwatch up`"
        yield Check("daemon", FAIL, f"{about}, but nobody holds {patient.paths.lock}", todo)
        return
    yield Check("daemon", OK, about)
    version = str(patient.status.get("version"))
    if version == __version__:
        yield Check("version", OK, version)
    else:
        words = f"the daemon is {version}, this command {__version__}"
        yield Check("version", WARN, words, "agentwatch restart")
    running = read_running(patient.paths.daemon_file)
    if running is None or not running.supervisor.alive():
        words = "gone: who serves would not be started again"
        yield Check("supervisor", WARN, words, "agentwatch restart")
    else:
        yield Check("supervisor", OK, f"pid {running.supervisor.pid}")


def _absent(patient: Patient, held: bool) -> Check:
    if held:
        words = f"one holds {patient.paths.lock}, but does not answer: {patient.daemon_error}"
        return Check("daemon", FAIL, words, "agentwatch logs, then agentwatch restart")
    return Check("daemon", OK, "none is running: `agentwatch up` or `run` starts one")


# ---- the ledger


def ledger(patient: Patient) -> Iterator[Check]:
    """Is its chain whole, and do its entries add up to its balances?"""
    path = patient.paths.ledger
    if patient.status is not None:
        yield from _verified(patient)
        return
    if not path.exists() and not recovery.witness_of(path).exists():
        yield Check("ledger", OK, "none yet: nothing was spent")
        return
    lock = take_lock(patient.paths.lock)
    if lock is None:
        yield Check("ledger", WARN, "not looked at: a daemon is just starting or ending")
        return
    try:
        entries = recovery.examine(path)
    except LedgerError as error:
        yield Check("ledger", FAIL, str(error), _remedy(path))
    else:
        yield Check("ledger", OK, f"{entries} entries, chain and balances are sound")
    finally:
        os.close(lock)


def _verified(patient: Patient) -> Iterator[Check]:
    path = patient.paths.ledger
    try:
        told = Control(patient).request("GET", "/v1/verify", timeout_s=VERIFY_TIMEOUT_S)
    except ControlError as error:
        if error.code == "not_from_inside":
            yield Check("ledger", WARN, "not looked at from inside a session")
        else:
            yield Check("ledger", FAIL, str(error), "agentwatch logs")
        return
    if told.get("ledger") != "ok":
        todo = f"agentwatch down; then keep {path} and see `agentwatch doctor`"
        yield Check("ledger", FAIL, str(told.get("problem")), todo)
    elif not path.exists():
        words = f"{path} was removed under the daemon, which can't put it back"
        yield Check("ledger", FAIL, words, "agentwatch logs tells why: mend it before it ends")
    else:
        yield Check("ledger", OK, f"{told.get('entries')} entries, chain and balances are sound")


def _remedy(path: Path) -> str:
    return f"put a good copy at {path}, or begin with nothing spent: agentwatch doctor --start-over"


def set_aside(patient: Patient) -> Iterator[Check]:
    """Are there damaged ledgers of before?"""
    for path in recovery.set_aside_before(patient.paths.ledger):
        yield Check("set aside", WARN, str(path), "remove it when nobody needs it any more")


def passes(patient: Patient) -> Iterator[Check]:
    """Did calls pass that governance did not fully cover, since the daemon's start?"""
    if patient.status is None:
        return
    causes = patient.status.get("fail_open") or {}
    failed = patient.status.get("ledger_failed")
    since = f" since {local_time(patient.status.get('started_at'))}"
    told = "agentwatch report ID tells a session's own, those of before as well"
    if failed:
        yield Check("fail-open", FAIL, f"the ledger can't be written: {failed}", "free the disk")
    elif causes:
        shown = ", ".join(f"{cause} {count}" for cause, count in sorted(causes.items()))
        yield Check("fail-open", WARN, f"calls that passed without cover{since}: {shown}", told)
    else:
        yield Check("fail-open", OK, f"no call passed without cover{since}")


def disk(patient: Patient) -> Iterator[Check]:
    """How long does it take to have something on the disk, and is there room?"""
    folder = patient.paths.state_dir
    if not folder.exists():
        return
    about = os.statvfs(folder)
    free = about.f_bavail * about.f_frsize
    if free < LOW_DISK_BYTES:
        yield Check("disk", WARN, f"{free >> 20} MB are left in {folder}", "make room")
    took = sync_seconds(folder)
    durability = patient.settings.ledger.durability if patient.settings else "power"
    shown = f"a sync takes {took * 1000:.1f} ms (median of {SYNC_TRIES})"
    if took < SLOW_SYNC_S:
        fits = '"power" fits' if durability == "power" else '"power" would fit too'
        yield Check("disk", OK, f"{shown}: durability {fits}")
    elif durability == "power":
        todo = '[ledger] durability = "process" is quicker, but a power cut may lose holds'
        yield Check("disk", WARN, f"{shown}, and each call waits for one", todo)
    else:
        yield Check("disk", OK, f'{shown}: durability "process" fits')


def sync_seconds(folder: Path) -> float:
    """How long a few bytes take until they are on the disk: the median. Raises OSError."""
    probe = folder / f".sync-{os.getpid()}"
    took = []
    with contextlib.closing(os.fdopen(_probe(probe), "wb", buffering=0)) as file:
        probe.unlink()
        for _ in range(SYNC_TRIES):
            file.write(b"x" * 512)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return sorted(took)[SYNC_TRIES // 2]


def _probe(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def sqlite(patient: Patient) -> Iterator[Check]:
    """Which SQLite?"""
    yield Check("sqlite", OK, f"{recovery.SQLITE_VERSION}, one writer")


# ---- keys, prices, surroundings


def keys(patient: Patient) -> Iterator[Check]:
    """For which providers is there a key? Names only."""
    from agentwatch.keyfile import KeyFile
    from agentwatch_cli.run_environment import missing_keys

    if patient.status is not None:
        names = [str(name) for name in patient.status.get("providers") or ()]
    else:
        names = sorted(KeyFile(patient.paths.keys_file).read().providers)
    for words in missing_keys(os.environ, names) if patient.status is not None else ():
        yield Check("keys", WARN, words)
    if names:
        yield Check("keys", OK, ", ".join(names))
    elif patient.status is None:
        words = "none in the key file: the daemon will know only those in its environment"
        yield Check("keys", WARN, words, "agentwatch keys set openai")


def prices(patient: Patient) -> Iterator[Check]:
    """Which price list, and how many models without a price?"""
    from agentwatch.pricing import load_book

    paths = patient.paths
    cache = paths.cache_dir if paths.cache_dir.exists() else None
    settings = patient.settings
    upstreams = (
        {} if settings is None else {n: settings.upstream(n) for n in settings.provider_names}
    )
    book = load_book(cache, paths.prices_file, upstreams=upstreams)
    unpriced = sum(entry.price is None for _, entry in book.entries())
    found = f"{book.version}; {unpriced} models without a price (`agentwatch prices check`)"
    used = (patient.status or {}).get("prices", book.version)
    if used != book.version:
        yield Check("prices", WARN, f"the daemon goes by {used}, not {found}", "agentwatch restart")
    else:
        yield Check("prices", OK, found)


def proxy(patient: Patient) -> Iterator[Check]:
    """Would a program started without `run` send its calls to a proxy of the network?"""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    if not {"http", "all"} & proxies.keys():
        yield Check("proxy", OK, "no proxy is set")
    elif proxy_bypass("127.0.0.1"):
        yield Check("proxy", OK, "a proxy is set, and left out for 127.0.0.1")
    else:
        words = "HTTP_PROXY is set without 127.0.0.1 in NO_PROXY: it would see each call and token"
        yield Check("proxy", WARN, words, "export NO_PROXY=127.0.0.1,localhost (`run` does)")


def inside(patient: Patient) -> Iterator[Check]:
    """Is this a shell inside a wrapped session?"""
    from agentwatch.mark import is_marked

    if is_marked(os.getpid()):
        words = "this process comes out of a wrapped session: it can change nothing"
        yield Check("session", WARN, words, "use a shell outside of `agentwatch run`")
    elif os.environ.get("AGENTWATCH_SESSION_TOKEN"):
        words = "this shell has the variables of `agentwatch env`"
        yield Check("session", WARN, words, "use another shell to start or end the daemon")
    else:
        yield Check("session", OK, "this shell is outside of any")


def system(patient: Patient) -> Iterator[Check]:
    """Does this system have what `run` and the daemon hold an agent with?"""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FEW_FILES:
        yield Check("files limit", WARN, f"at most {most} open files", "raise `ulimit -Hn`")
    if sys.platform != "linux":
        words = "descendants that change their group can't be swept here (no subreaper)"
        yield Check("system", WARN, words)
    elif not _has_subreaper():
        yield Check("system", WARN, "this kernel takes no subreaper (prctl is walled off)")
    else:
        yield Check("system", OK, "subreaper and prctl are there")


def _has_subreaper() -> bool:
    import ctypes

    found = ctypes.c_int(0)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0) == 0)


CHECKS: tuple[Callable[[Patient], Iterator[Check]], ...] = (
    configuration,
    home,
    files,
    daemon,
    ledger,
    set_aside,
    passes,
    disk,
    sqlite,
    keys,
    prices,
    proxy,
    inside,
    system,
)


def ask_daemon(patient: Patient) -> None:
    """Fill in what the daemon says of itself, or why it says nothing."""
    try:
        patient.status = Control(patient).request("GET", "/v1/status")
    except DaemonUnavailable as error:
        patient.daemon_error = str(error)
