"""A disk that loses power, or fails a write or a sync, beneath the real SQLite journal.

A VFS of SQLite's own interface is put over the one that Python's sqlite3 uses by default, in the
very library that it uses: production code opens its files as always. The shim notes what is
written, synced and deleted in one folder. From these notes a Platter reckons what would be on the
disk had the power gone at a given moment: what was synced, and of the rest whatever a disk may have
got round to, whole, torn at its sectors, or as garbage.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

SECTOR = 512
#: of a journal or WAL that is new, SQLite's first sync is one of the folder as well (os_unix.c,
#: UNIXFILE_DIRSYNC): only then are the names that were deleted before gone for sure
_CREATE, _JOURNALS = 0x4, 0x800 | 0x80000


class Op(NamedTuple):
    """One note: what was done to a file, or (`told`) what a test had been promised by then."""

    kind: str
    file: str = ""
    at: int = 0
    data: Any = b""


# ---- SQLite's structures, as far as they are needed: https://sqlite.org/c3ref/vfs.html

_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)


class _Methods(Structure):
    _fields_ = [
        ("version", c_int),
        *((name, c_void_p) for name in ("close", "read", "write", "truncate", "sync")),
        ("others", c_void_p * 13),
    ]


class _Vfs(Structure):
    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("others", c_void_p * 14),
    ]


def _library() -> Any:
    # what Python's own module is linked with, or has in it; never another copy
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    return library


class FaultyDisk:
    """Notes what SQLite does in `folder`. `fault(kind, file)`, where it is set, is asked before
    each write, truncate and sync: an error code of SQLite's is returned in its place."""

    def __init__(self, folder: Path) -> None:
        self.ops: list[Op] = []
        self.fault: Callable[[str, str], int] | None = None
        self._folder = f"{folder}/"
        self._library = _library()
        self._below = self._library.sqlite3_vfs_find(None).contents
        self._vfs = _Vfs.from_buffer_copy(self._below)
        self._files: dict[int, str] = {}
        self._unnamed: set[int] = set()
        self._methods: dict[int, _Methods] = {}
        self._open, self._delete = _OPEN(self._below.open), _DELETE(self._below.delete)
        self._kept: list[Any] = [_OPEN(self._opened), _DELETE(self._deleted)]
        self._vfs.name = b"faulty disk"
        self._vfs.open, self._vfs.delete = (ctypes.cast(each, c_void_p) for each in self._kept)

    def told(self, what: Any) -> None:
        """Note that a test has been promised this."""
        self.ops.append(Op("told", data=what))

    @contextmanager
    def under(self) -> Iterator[FaultyDisk]:
        """Files that are opened in this block are on this disk."""
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == sqlite3.SQLITE_OK
        try:
            yield self
        finally:
            self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    # ---- called by SQLite

    def _opened(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        code = self._open(vfs, name, file, flags, out)
        path = ctypes.string_at(name).decode() if name else ""
        if code == sqlite3.SQLITE_OK and path.startswith(self._folder):
            self._files[file] = path.removeprefix(self._folder)
            self._unnamed.discard(file)
            if flags & _CREATE and flags & _JOURNALS:
                self._unnamed.add(file)
            slot = c_void_p.from_address(file)
            assert slot.value is not None
            slot.value = ctypes.addressof(self._over(slot.value))
        return int(code)

    def _over(self, below: int) -> _Methods:
        """These methods of a file, with ours over three of them."""
        found = self._methods.get(below)
        if found is None:
            old = _Methods.from_address(below)
            found = self._methods[below] = _Methods.from_buffer_copy(old)
            found.version = min(old.version, 2)  # no memory maps: they would pass us by
            for name, kind, ours in (
                ("write", _WRITE, self._written),
                ("truncate", _TRUNCATE, self._truncated),
                ("sync", _SYNC, self._synced),
            ):
                real = kind(getattr(old, name))
                self._kept += (real, kind(lambda *told, ours=ours, real=real: ours(real, *told)))
                setattr(found, name, ctypes.cast(self._kept[-1], c_void_p))
        return found

    def _written(self, real: Any, file: int, data: int, size: int, at: int) -> int:
        name, failed = self._files[file], self._failed("write", file)
        if failed:
            size //= 2  # some of it is there all the same
        self.ops.append(Op("write", name, at, ctypes.string_at(data, size)))
        return int(real(file, data, size, at)) or failed

    def _truncated(self, real: Any, file: int, size: int) -> int:
        failed = self._failed("truncate", file)
        if not failed:
            self.ops.append(Op("truncate", self._files[file], size))
            failed = int(real(file, size))
        return failed

    def _synced(self, real: Any, file: int, flags: int) -> int:
        # nothing is really synced: the disk is in our notes
        failed = self._failed("sync", file)
        self.ops.append(Op("lost" if failed else "sync", self._files[file]))
        if not failed and file in self._unnamed:
            self._unnamed.remove(file)
            self.ops.append(Op("names"))
        return failed

    def _deleted(self, vfs: int, name: int, synced: int) -> int:
        path = ctypes.string_at(name).decode()
        code = int(self._delete(vfs, name, 0))
        if code == sqlite3.SQLITE_OK and path.startswith(self._folder):
            self.ops.append(Op("delete", path.removeprefix(self._folder), synced))
        return code

    def _failed(self, kind: str, file: int) -> int:
        return self.fault(kind, self._files[file]) if self.fault else sqlite3.SQLITE_OK


# ---- what is on the disk


class Platter:
    """What is on the disk for sure, and what is on its way there."""

    def __init__(self) -> None:
        self.sure: dict[str, bytearray] = {}
        self._pending: dict[str, list[Op]] = {}

    def take(self, op: Op) -> None:
        """Go on by one note."""
        if op.kind == "told":
            return
        pending = self._pending.setdefault(op.file, [])
        if op.kind == "names":
            for name, waiting in self._pending.items():
                self._delete_for_sure(name, waiting)
        elif op.kind == "lost":
            # what a sync failed for is gone, though the kernel shows it as if it were there
            pending[:] = [each for each in pending if each.kind != "write"]
        elif op.kind == "sync" or (op.kind == "delete" and op.at):
            for each in [*pending, op]:
                _do(self.sure, each)
            pending.clear()
        else:
            pending.append(op)

    def _delete_for_sure(self, name: str, waiting: list[Op]) -> None:
        deletes = [number for number, each in enumerate(waiting, 1) if each.kind == "delete"]
        if deletes:
            self.sure.pop(name, None)
            del waiting[: deletes[-1]]

    def cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files that are found when the power has gone now."""
        found = {name: bytearray(data) for name, data in self.sure.items()}
        likely = chance.choice((0.0, 0.2, 0.5, 0.9, 1.0))
        for pending in self._pending.values():
            for number, op in enumerate(pending, 1):
                if op.kind == "delete" and number < len(pending):
                    _do(found, op)  # the name was taken again, which comes after
                elif chance.random() < likely:
                    for part in _torn(op, chance):
                        _do(found, part)
        return {name: bytes(data) for name, data in found.items()}


def _torn(op: Op, chance: random.Random) -> list[Op]:
    """What got there of a write: all of it, or some of its sectors, or others in their place."""
    if op.kind != "write" or chance.random() < 0.5:
        return [op]
    parts = []
    for start in range(0, len(op.data), SECTOR):
        sector = op.data[start : start + SECTOR]
        fate = chance.random()
        if fate < 0.1:
            sector = chance.randbytes(len(sector))
        if fate < 0.6:
            parts.append(Op("write", op.file, op.at + start, sector))
    return parts


def _do(files: dict[str, bytearray], op: Op) -> None:
    if op.kind == "delete":
        files.pop(op.file, None)
        return
    data = files.setdefault(op.file, bytearray())
    if op.kind == "write":
        end = op.at + len(op.data)
        data.extend(bytes(max(0, end - len(data))))
        data[op.at : end] = op.data
    elif op.kind == "truncate":
        del data[op.at :]
