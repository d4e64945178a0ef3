"""The daemon's log: one line an event, no secret in it, no control character that acts.

What a log line is made of comes from outside (model names, upstream errors, paths): a key echoed
in an error or an escape sequence in a model's name must end here.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import unicodedata
from collections.abc import Iterable
from types import TracebackType
from typing import TextIO

HIDDEN = "***"

#: an upstream's error may be megabytes
LINE_MAX_CHARS = 8_192

#: our own tokens, then the providers' key shapes. No word boundary in front where the prefix is
#: distinctive: a secret glued to other text is still a secret.
_SECRETS = re.compile(
    r"""
      (?P<token>  aws_ | awk_ | whsec_ | gsk_ | xai- | AIza )  [A-Za-z0-9_\-+/=]{4,}
    | (?P<sk>     (?<![A-Za-z0-9]) sk- )                       [A-Za-z0-9_\-]{6,}
    | (?P<glued>  sk- )                                        [A-Za-z0-9_\-]{20,}
    | (?P<scheme> \b(?:bearer|basic) \b [\s:=]+ (?:['"]\s*)? )       [^\s'",;)\]}]+
    | (?P<query>  [?&] (?:api_?)?key= )                        [^&\s'"]+
    | (?P<cookie> \bcookie ['"]? \s* [:=,] )                    .+
    | (?P<header> api[_-]?key ['"]? \s* [:=,] \s* (?:b?['"]\s*)? ) [^\s'",;)\]}]+
    | (?P<user>   :// )                                        [^/\s@'"]+ @
    """,
    re.IGNORECASE | re.VERBOSE,
)


def scrub(text: str, known: Iterable[str] = ()) -> str:
    """`text` with every secret replaced and every control character made visible.

    `known` are further secrets, literally.
    """
    for secret in known:
        text = text.replace(secret, HIDDEN)
    # twice: what a control character had torn apart is whole after the first escape, and the
    # escape itself must not hide a secret behind it
    return _replace_secrets(harmless(_replace_secrets(text)))


def _replace_secrets(text: str) -> str:
    return _SECRETS.sub(_hide, text)


def _hide(match: re.Match[str]) -> str:
    kept = next(text for text in match.groups() if text is not None)
    return kept + HIDDEN


def harmless(text: str) -> str:
    """`text` on one line, without anything that a terminal acts upon."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    # control, format (bidi, zero width), surrogate, private, unassigned; line and paragraph ends
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return char.encode("unicode_escape").decode("ascii")
    return char


class SafeFormatter(logging.Formatter):
    """Makes one harmless line of a record, its traceback included."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"
    converter = staticmethod(time.gmtime)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s")
        self._secrets: frozenset[str] = frozenset()
        self.conceal(secrets)

    def conceal(self, secrets: Iterable[str]) -> None:
        """Keep these values out of every further line. Short ones would eat ordinary words."""
        self._secrets |= {secret for secret in secrets if len(secret) >= 8}

    def format(self, record: logging.LogRecord) -> str:
        try:
            line = super().format(record)
        except Exception as error:
            # a wrong argument must not make logging print the raw arguments to stderr
            line = f"a log line could not be made: {type(error).__name__} at {record.pathname}"
        if len(line) > 4 * LINE_MAX_CHARS:
            line = line[: 4 * LINE_MAX_CHARS]
        line = scrub(line, self._secrets)
        return line if len(line) <= LINE_MAX_CHARS else line[:LINE_MAX_CHARS] + "…"


class _QuietHandler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Nothing: a full disk must not stop the daemon, and logging's own report would print
        the record's raw arguments."""


def configure(
    level: str, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> SafeFormatter:
    """Send every logger, uncaught exception and warning through one safe line on `stream`
    (default stderr). Returns the formatter, to tell it of secrets learnt later."""
    formatter = SafeFormatter(secrets)
    handler = _QuietHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    return formatter


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logging.getLogger("agentwatch").critical("uncaught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
