"""keys.json: provider keys, and the digests of AgentWatch keys.

A provider's key has to be kept as it is; an AgentWatch key (`awk_…`) is kept as its SHA-256 only,
and is seen once, by whoever had it issued. The file is 0600, replaced in one step, and changed
under a lock of its own, since the replaced file can't carry one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from agentwatch.errors import SettingsError, UsageError
from agentwatch.paths import private_folder, write_private
from agentwatch.upstreams import PROVIDERS

AGENTWATCH_KEY_PREFIX = "awk_"
#: prefixes of our own credentials: never a provider's key
OWN_PREFIXES = ("aws_", AGENTWATCH_KEY_PREFIX)
KEY_MAX_CHARS = 4096

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ProviderKey(Struct, frozen=True, kw_only=True):
    """A provider's key. `set_at` is seconds since 1970."""

    value: str
    set_at: float

    def __repr__(self) -> str:
        return f"ProviderKey(value=…, set_at={self.set_at})"


class IssuedKey(Struct, frozen=True, kw_only=True):
    """What is known of an AgentWatch key: its digest in hex, and when it was issued."""

    sha256: str
    created_at: float

    def __repr__(self) -> str:
        return f"IssuedKey(sha256=…, created_at={self.created_at})"


class KeyRing(Struct, frozen=True, kw_only=True):
    """All that the key file holds."""

    schema_version: int = 1
    providers: dict[str, ProviderKey] = {}
    agentwatch: dict[str, IssuedKey] = {}


def digest(key: str) -> str:
    """The form in which an AgentWatch key is kept."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def check_provider_key(value: str) -> str:
    """`value` without blanks around it, if it can be a provider's key.

    Raises UsageError, which never repeats the value, for what would break a header.
    """
    value = value.strip()
    if not value:
        raise UsageError("the key is empty")
    if len(value) > KEY_MAX_CHARS:
        raise UsageError(f"the key is longer than {KEY_MAX_CHARS} characters")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise UsageError("the key has characters that no key has: give it alone, on one line")
    if value.startswith(OWN_PREFIXES):
        raise UsageError("that is a credential of AgentWatch, not a provider's key")
    return value


class KeyFile:
    """The key file at `path`; it need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> KeyRing:
        """What the file holds; nothing where there is no file.

        Raises SettingsError for a file that is damaged, or is another user's.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return KeyRing()
        except OSError as error:
            raise SettingsError(f"{self.path} can't be read: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as file:
            self._keep_private(descriptor)
            return self._decode(file.read())

    def set_provider(
        self, name: str, value: str, now: float, known: Sequence[str] = PROVIDERS
    ) -> None:
        """Keep the key of a provider, one of `known`. `now` is seconds since 1970."""
        if name not in known:
            raise UsageError(
                f"{name!r} is no provider: the providers are {', '.join(known)} "
                "(`agentwatch keys issue NAME` makes an AgentWatch key)"
            )
        key = ProviderKey(value=check_provider_key(value), set_at=now)
        with self._changing() as ring:
            self._write(msgspec.structs.replace(ring, providers={**ring.providers, name: key}))

    def issue(self, name: str, now: float) -> str:
        """Make an AgentWatch key and return it, for the only time. `now`: seconds since 1970."""
        if not _NAME.fullmatch(name):
            raise UsageError("a key's name is letters, digits, '.', '_' and '-', at most 64")
        if name in PROVIDERS:
            raise UsageError(f"{name!r} is a provider's name: choose another for the key")
        key = AGENTWATCH_KEY_PREFIX + secrets.token_urlsafe(32)
        with self._changing() as ring:
            if name in ring.agentwatch:
                raise UsageError(
                    f"there is a key {name!r} already: `agentwatch keys rm {name}` first"
                )
            issued = IssuedKey(sha256=digest(key), created_at=now)
            self._write(msgspec.structs.replace(ring, agentwatch={**ring.agentwatch, name: issued}))
        return key

    def remove(self, name: str) -> bool:
        """Forget the key of this name; False where there was none."""
        with self._changing() as ring:
            providers = {key: value for key, value in ring.providers.items() if key != name}
            issued = {key: value for key, value in ring.agentwatch.items() if key != name}
            if providers == ring.providers and issued == ring.agentwatch:
                return False
            self._write(KeyRing(providers=providers, agentwatch=issued))
            return True

    def _keep_private(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if found.st_uid not in (os.geteuid(), 0):
            raise SettingsError(f"{self.path} belongs to another user: remove it")
        if found.st_mode & 0o077 and found.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)

    def _decode(self, data: bytes) -> KeyRing:
        try:
            ring = msgspec.json.decode(data, type=KeyRing)
        except msgspec.MsgspecError:
            # the decoder's words may quote the file, and the file is secrets
            raise SettingsError(
                f"{self.path} is damaged: move it away, and set the keys again"
            ) from None
        if ring.schema_version != 1:
            raise SettingsError(f"{self.path} was written by a newer AgentWatch: upgrade this one")
        return ring

    @contextlib.contextmanager
    def _changing(self) -> Iterator[KeyRing]:
        """The file's content while no other process changes it."""
        private_folder(self.path.parent)
        lock = os.open(
            self.path.with_name(self.path.name + ".lock"),
            os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(lock)

    def _write(self, ring: KeyRing) -> None:
        content = msgspec.json.format(msgspec.json.encode(ring), indent=2)
        write_private(self.path, content)
