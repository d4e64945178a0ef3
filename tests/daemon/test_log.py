"""The log: no secret gets in, nothing in it acts on a terminal, one event is one line."""

import io
import logging
import sys
import threading
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.daemon.log import LINE_MAX_CHARS, configure, harmless, scrub

BODY = "Canary0123456789canary"
SECRETS = [
    f"aws_{BODY}",
    f"awk_{BODY}",
    f"sk-{BODY}",
    f"sk-proj-{BODY}",
    f"sk-ant-api03-{BODY}",
    f"AIza{BODY}",
    f"gsk_{BODY}",
    f"xai-{BODY}",
    f"whsec_{BODY}",
]
SLOTS = [
    "Authorization: Bearer {}",
    "authorization: bearer {}",
    '{{"Authorization": "Bearer {}"}}',
    "Basic {}",
    "x-api-key: {}",
    "'x-goog-api-key': '{}'",
    "(b'x-api-key', b'{}')",
    "/v1beta/models/x:generateContent?key={}",
    "/x?alt=sse&key={}&a=b",
    "Cookie: session={}",
    "https://user:{}@host/path",
]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    yield io.StringIO()
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "key {}.", "/s/{}/openai/v1", '"{}"', "a%3D{}", "x={}&y"])
def test_a_credential_is_known_by_its_shape(secret: str, around: str) -> None:
    assert "anary" not in scrub(around.format(secret))


@pytest.mark.parametrize("slot", SLOTS)
def test_a_credential_of_unknown_shape_is_known_by_its_slot(slot: str) -> None:
    assert "anary" not in scrub(slot.format(BODY))


@given(st.text(max_size=30), st.sampled_from(SECRETS), st.text(max_size=30))
def test_no_surrounding_text_lets_a_secret_pass(before: str, secret: str, after: str) -> None:
    assert BODY not in scrub(before + secret + after)


@given(st.text())
def test_every_line_is_one_line_that_does_nothing(text: str) -> None:
    line = scrub(text)
    assert "\n" not in line
    assert not {unicodedata.category(char) for char in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert harmless(line) == line


@pytest.mark.parametrize(
    "char", ["\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2028", "\u200b", "\udc80"]
)
def test_an_escape_sequence_in_a_model_s_name(char: str) -> None:
    assert char not in scrub(f"gpt{char}[2J")


def test_ordinary_words_stay() -> None:
    text = "disk-full on task-specific run: risk-free, 12 tokens in, gpt-4o, https://host/path"
    assert scrub(text) == text


def test_a_secret_in_message_arguments_and_traceback(stream: io.StringIO) -> None:
    configure("info", ["Very-Own-Canary"], stream)
    try:
        raise ValueError(f"refused: sk-{BODY}\nsecond line, Very-Own-Canary")
    except ValueError:
        logging.getLogger("x").exception("upstream said %s", f"Bearer {BODY}")
    written = stream.getvalue()
    assert "anary" not in written
    assert "ValueError" in written
    assert written.count("\n") == 1


def test_a_secret_that_is_learnt_later_is_concealed_too(stream: io.StringIO) -> None:
    formatter = configure("info", (), stream)
    formatter.conceal(["learnt-canary", "short"])
    logging.getLogger("x").info("a learnt-canary, in short")
    assert "canary" not in stream.getvalue()
    assert "in short" in stream.getvalue()


def test_a_wrong_argument_does_not_print_the_record(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("info", (), stream)
    logging.getLogger("x").info("%d", BODY)
    assert "anary" not in stream.getvalue() + capsys.readouterr().err
    assert "could not be made" in stream.getvalue()


def test_a_disk_that_is_full_does_not_stop_the_daemon(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("info", (), stream)
    stream.close()
    logging.getLogger("x").info("canary")
    assert capsys.readouterr().err == ""


def test_an_error_of_megabytes_is_one_short_line(stream: io.StringIO) -> None:
    configure("info", (), stream)
    logging.getLogger("x").info("e" * 5_000_000)
    assert len(stream.getvalue()) < LINE_MAX_CHARS + 10


def test_an_uncaught_exception_goes_through_the_log(stream: io.StringIO) -> None:
    configure("info", (), stream)

    def fail() -> None:
        raise ValueError(f"sk-{BODY}")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    assert stream.getvalue().count("ValueError: sk-***") == 2
    assert "anary" not in stream.getvalue()


def test_the_level_is_obeyed(stream: io.StringIO) -> None:
    configure("warning", (), stream)
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
