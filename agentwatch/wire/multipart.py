"""multipart/form-data, read so that nobody downstream can read another form out of it.

A form is taken apart and written anew from its parts: a preamble, other headers and tricks with
quotes get no further. The delimiter may stand nowhere but between parts, so that a lenient parser
cuts where this one does. Names of files are data: they are passed on, and mean nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agentwatch.wire.json_object import bad

#: more parts than any form of these APIs has
MOST_PARTS = 256
#: bytes of the longest field that is no file
LONGEST_TEXT = 1 << 20
_HEAD_BYTES = 4_096
_TYPE = re.compile(
    r"multipart/form-data\s*;\s*boundary="
    r"(?:\"([A-Za-z0-9'()+_,./:=? -]{1,70})\"|([^\s;\"]{1,70}))\s*(?:;|$)",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(r"[A-Za-z0-9'()+_,./:=? -]*[A-Za-z0-9'()+_,./:=?-]")
_DISPOSITION = re.compile(
    rb'form-data; *name="([A-Za-z0-9_.\[\]-]{1,64})"(?:; *filename="([^"\r\n\0]{0,1024})")?'
    rb"(?:; *filename\*=[^;\s\"]{0,3072})?",
    re.IGNORECASE,
)
_MEDIA_TYPE = re.compile(rb"[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+(?:; *[A-Za-z0-9-]+=[A-Za-z0-9.,_-]+)*")


class Part(NamedTuple):
    """One part of a form. `filename` is None where it is no file."""

    name: str
    content: bytes
    filename: bytes | None = None
    media_type: bytes | None = None


class Form:
    """A form that was read, and can be written again."""

    def __init__(self, boundary: str, parts: Iterable[Part]) -> None:
        self._boundary = boundary
        self.parts = list(parts)

    @property
    def content_type(self) -> str:
        """What `written` is written as."""
        return f'multipart/form-data; boundary="{self._boundary}"'

    def text(self, name: str) -> str | None:
        """A field's text; None where it is not there. Raises Refusal where it is there twice."""
        found = [part for part in self.parts if part.name == name]
        if len(found) > 1:
            bad(f"{name} is there twice")
        return self._decoded(found[0]) if found else None

    def boolean(self, name: str) -> bool:
        """True or false; False where it is not there."""
        told = self.text(name)
        if told not in (None, "", "true", "false"):
            bad(f"{name} must be true or false")
        return told == "true"

    def whole(self, name: str) -> int | None:
        """A number of at least 1; None where it is not there."""
        told = self.text(name)
        if told is None:
            return None
        if not re.fullmatch(r"[1-9][0-9]{0,8}", told, re.ASCII):
            bad(f"{name} must be a whole number of at least 1")
        return int(told)

    def files(self, *names: str) -> list[bytes]:
        """The contents of the files under these names, of which also "NAME[]"."""
        wanted = {*names, *(f"{name}[]" for name in names)}
        return [part.content for part in self._named(wanted, is_file=True)]

    def texts_size(self) -> int:
        """Bytes of all fields that are no file."""
        return sum(len(part.content) for part in self.parts if part.filename is None)

    def written(self) -> bytes:
        """The form's bytes."""
        pieces: list[bytes] = []
        for part in self.parts:
            pieces += (b"--", self._boundary.encode(), b"\r\n", _head(part), b"\r\n\r\n")
            pieces += (part.content, b"\r\n")
        return b"".join([*pieces, b"--", self._boundary.encode(), b"--\r\n"])

    def refuse_look_alikes(self, priced: frozenset[str], structured: str = "") -> None:
        """Refuse a name that is a priced one in other letters or, but for `structured`, with
        brackets: some parsers take "n[]" for "n"."""
        for part in self.parts:
            plain, bracket, _ = part.name.partition("[")
            name, is_list = plain.casefold(), bracket and part.filename is None
            if name in priced and (plain != name or (is_list and name != structured)):
                bad(f"the field {part.name!r} must be written {name!r}")

    def _named(self, names: set[str], is_file: bool) -> Iterator[Part]:
        for part in self.parts:
            if part.name in names:
                if (part.filename is not None) != is_file:
                    bad(f"{part.name} must be a file")
                yield part

    @staticmethod
    def _decoded(part: Part) -> str:
        if part.filename is not None or len(part.content) > LONGEST_TEXT:
            bad(f"{part.name} must be a text, not a file")
        try:
            return part.content.decode()
        except UnicodeDecodeError:
            bad(f"{part.name} is not valid UTF-8")


def read_form(content_type: str, body: bytes) -> Form:
    """The form in a body of this Content-Type. Raises Refusal("bad_request")."""
    found = _TYPE.match(content_type)
    boundary = (found[1] or found[2]) if found else ""
    if not _BOUNDARY.fullmatch(boundary):
        bad("this request must be multipart/form-data, with a boundary in its Content-Type")
    delimiter = b"--" + boundary.encode()
    first, *pieces = body.split(delimiter, MOST_PARTS + 2)
    if first or len(pieces) < 2 or pieces.pop() not in (b"--", b"--\r\n"):
        bad("the form is not whole, has too many parts, or its delimiter stands within a part")
    return Form(boundary, [_part(piece) for piece in pieces])


def _part(piece: bytes) -> Part:
    """What stands between two delimiters: CR LF, a head, an empty line, a content, CR LF."""
    split = piece.find(b"\r\n\r\n", 0, _HEAD_BYTES)
    if not piece.startswith(b"\r\n") or not piece.endswith(b"\r\n") or split < 0:
        bad("a part of the form is not whole")
    headers = dict(_header(line) for line in piece[2:split].split(b"\r\n"))
    named = _DISPOSITION.fullmatch(headers.get(b"content-disposition", b""))
    if named is None:
        bad("a part of the form has no name that can be read")
    media_type = headers.get(b"content-type", b"")
    return Part(
        named[1].decode(),
        piece[split + 4 : -2],
        named[2],
        # a text's charset might make another text of it
        media_type if named[2] is not None and _MEDIA_TYPE.fullmatch(media_type) else None,
    )


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or b"\r" in line or b"\n" in line:
        bad("a part of the form has a head that can't be read")
    return name.lower(), value.strip(b" \t")


def _head(part: Part) -> bytes:
    head = b'Content-Disposition: form-data; name="' + part.name.encode() + b'"'
    if part.filename is not None:
        head += b'; filename="' + part.filename.replace(b"\\", b"_") + b'"'
    if part.media_type is not None:
        head += b"\r\nContent-Type: " + part.media_type
    return head
