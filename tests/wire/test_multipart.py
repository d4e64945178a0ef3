"""Forms: what is written anew is what was read, and no parser can read another one out of it."""

from __future__ import annotations

import email.parser
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.errors import Refusal
from agentwatch.wire.multipart import Form, Part, read_form

BOUNDARY = "x-1"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
NAMES = st.from_regex(r"[A-Za-z0-9_.\[\]-]{1,20}", fullmatch=True)
CONTENTS = st.binary(max_size=300).filter(lambda content: b"--x-1" not in content)
PARTS = st.builds(
    Part,
    NAMES,
    CONTENTS,
    st.none() | st.from_regex(rb"[a-z .-]{0,20}", fullmatch=True),
    st.none() | st.sampled_from([b"audio/wav", b"text/plain; charset=utf-8"]),
).map(lambda part: part if part.filename is not None else part._replace(media_type=None))


def form(*lines: bytes) -> bytes:
    return b"\r\n".join(lines)


def field(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return form(
        b"--x-1", b'Content-Disposition: form-data; name="' + name + b'"' + more, b"", value
    )


def refused(body: bytes, content_type: str = TYPE) -> str:
    with pytest.raises(Refusal) as refusal:
        read_form(content_type, body)
    assert refusal.value.reason == "bad_request"
    return refusal.value.message


@given(st.lists(PARTS, min_size=1, max_size=6))
def test_a_form_that_is_written_is_read_as_it_was(parts: list[Part]) -> None:
    written = Form(BOUNDARY, parts).written()
    again = read_form(TYPE, written)
    assert again.parts == parts
    assert again.written() == written


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_another_parser_reads_the_same(parts: list[Part]) -> None:
    made = Form(BOUNDARY, parts)
    head = f"Content-Type: {made.content_type}\r\n\r\n".encode()
    read = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + made.written())
    got = [part.get_param("name", header="content-disposition") for part in read.iter_parts()]
    assert got == [part.name for part in parts]


def test_what_stands_outside_the_parts_is_not_sent_on() -> None:
    body = form(
        b"--x-1",
        b"X-Other: 1",
        b"content-disposition: form-data; name=\"model\"; filename*=utf-8''x",
        b"",
        b"tts-1",
        b"--x-1--\r\n",
    )
    assert b"X-Other" not in read_form(TYPE, body).written()
    assert b"filename" not in read_form(TYPE, body).written()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x-1--",
        b"preamble\r\n" + field(b"a", b"1") + b"\r\n--x-1--",
        field(b"a", b"1"),
        field(b"a", b"1") + b"\r\n--x-1--epilogue",
        field(b"a", b"1\n--x-1\nContent-Disposition: form-data") + b"\r\n--x-1--",
        field(b"a", b"1--x-1 2") + b"\r\n--x-1--",
        field(b'a"; name="model', b"1") + b"\r\n--x-1--",
        field(b"a", b"1", b"; other=1") + b"\r\n--x-1--",
        field(b"a" * 65, b"1") + b"\r\n--x-1--",
        b"--x-1\r\nContent-Type: text/plain\r\n\r\n1\r\n--x-1--",
        b"--x-1\nContent-Disposition: form-data; name=a\n\n1\n--x-1--",
        b"--x-1\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1\r\n--x-1--",
        b"".join(field(b"a", b"1") + b"\r\n" for _ in range(300)) + b"--x-1--",
    ],
)
def test_a_form_that_two_parsers_may_read_differently_is_refused(body: bytes) -> None:
    assert refused(body)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=x-1",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "b" * 71,
    ],
)
def test_a_body_that_says_it_is_none_is_none(content_type: str) -> None:
    body = field(b"a", b"1") + b"\r\n--x-1--"
    assert "multipart/form-data" in refused(body, content_type)


def read(*fields: bytes) -> Form:
    return read_form(TYPE, b"\r\n".join([*fields, b"--x-1--\r\n"]))


def test_a_field_that_is_there_twice_is_refused() -> None:
    twice = read(field(b"model", b"tts-1"), field(b"model", b"whisper-1"))
    with pytest.raises(Refusal, match="twice"):
        twice.text("model")


def test_a_field_in_other_letters_is_refused() -> None:
    with pytest.raises(Refusal, match="must be written 'model'"):
        read(field(b"Model", b"1")).refuse_look_alikes(frozenset(["model"]))


@pytest.mark.parametrize("name", [b"n[]", b"n[0]", b"N[]"])
def test_a_field_with_brackets_is_taken_for_the_field_by_some_parsers(name: bytes) -> None:
    with pytest.raises(Refusal, match="must be written 'n'"):
        read(field(name, b"10")).refuse_look_alikes(frozenset(["n"]))
    parts = read(field(b"how[type]", b"x"), field(b"image[]", b"x", b'; filename="x"'))
    parts.refuse_look_alikes(frozenset(["how", "image"]), structured="how")


def test_a_charset_does_not_make_another_text_of_a_field() -> None:
    told = b"\r\nContent-Type: text/plain; charset=utf-7"
    assert b"utf-7" not in read(field(b"quality", b"low", told)).written()


@pytest.mark.parametrize(
    ("ask", "value"),
    [("whole", b"0"), ("whole", b"-1"), ("whole", b"1.5"), ("boolean", b"yes"), ("text", b"\xff")],
)
def test_values_are_read_with_mistrust(ask: str, value: bytes) -> None:
    with pytest.raises(Refusal):
        getattr(read(field(b"n", value)), ask)("n")


def test_a_text_in_a_files_place_is_refused() -> None:
    with pytest.raises(Refusal, match="must be a file"):
        read(field(b"file", b"1")).files("file")
    with pytest.raises(Refusal, match="not a file"):
        read(field(b"model", b"1", b'; filename="x"')).text("model")


def test_a_files_name_is_data() -> None:
    odd = read(field(b"file", b"1", b'; filename="../../etc/passwd\\..;|"'))
    assert b"../../etc/passwd_..;|" in odd.written()
