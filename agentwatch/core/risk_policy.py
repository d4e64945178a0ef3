"""What is looked for, what is done about it, and what is let be: the user's word on risks.

An action is one of off, tag, redact (tagged, and taken out of every payload that is kept) and block
(all that, and the call is refused before it is sent). The user's own patterns run on RE2, whose
time is linear in the text: a pattern can't stall the scan, and one that could is refused.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from agentwatch.core.risk import TAGS, Finding, scan
from agentwatch.errors import UsageError

OFF, TAG, REDACT, BLOCK = "off", "tag", "redact", "block"
ACTIONS = (OFF, TAG, REDACT, BLOCK)
_NAME = re.compile(r"[A-Z][A-Z0-9_]{1,63}", re.ASCII)


class RiskPolicy:
    """One home's. `action` is for every tag that `by_tag` does not name.

    Raises UsageError for a tag that is not known, and for a pattern that can't be taken.
    """

    def __init__(
        self,
        action: str = TAG,
        by_tag: Mapping[str, str] | None = None,
        patterns: Mapping[str, str] | None = None,
        allow: Iterable[str] = (),
    ) -> None:
        self._patterns = {name: _compiled(name, text) for name, text in (patterns or {}).items()}
        known = (*TAGS, *self._patterns)
        for tag in by_tag or {}:
            if tag not in known:
                raise UsageError(f"[risks.tags] {tag!r} is no tag: known are {', '.join(known)}")
        self._actions = {tag: (by_tag or {}).get(tag, action) for tag in known}
        self._built_in = tuple(tag for tag in TAGS if self._actions[tag] != OFF)
        self._allowed = [re.compile(fnmatch.translate(each.strip())) for each in allow]
        self.tags: tuple[str, ...] = tuple(tag for tag in known if self._actions[tag] != OFF)
        self.blocked = frozenset(tag for tag in known if self._actions[tag] == BLOCK)

    def look(self, text: str) -> list[Finding]:
        """What is found in the text and not allowed."""
        found = scan(text, self._built_in)
        for tag, pattern in self._patterns.items():
            if self._actions[tag] != OFF:
                found += [Finding(tag, *each.span()) for each in pattern.finditer(text)]
        return [each for each in found if not self._is_allowed(text[each.start : each.end])]

    def taken_out(self, found: Iterable[Finding], *, everything: bool) -> list[Finding]:
        """The findings that are to be redacted: all, or those whose tag says so."""
        return [
            each
            for each in found
            if everything or self._actions.get(each.tag, TAG) in (REDACT, BLOCK)
        ]

    def in_order(self, tags: Collection[str]) -> list[str]:
        """These tags in their order, each once."""
        return [tag for tag in self.tags if tag in tags]

    def _is_allowed(self, text: str) -> bool:
        return any(pattern.match(text) for pattern in self._allowed)


def _compiled(name: str, pattern: str) -> Any:
    where = f"[risks.patterns] {name}"
    if not _NAME.fullmatch(name) or name in TAGS:
        raise UsageError(f"{where}: a tag of your own is in capitals, like EMPLOYEE_ID, and new")
    try:
        import re2
    except ImportError:
        raise UsageError(
            f"{where}: patterns of your own need google-re2 where the daemon is installed: from a "
            "checkout, pipx install --force '.[patterns]'"
        ) from None
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise UsageError(
            f"{where}: it can't be matched in linear time, or is no pattern ({why}): RE2 knows no "
            "look-around and no back-references"
        ) from None
    if compiled.search("") is not None:
        raise UsageError(f"{where}: it matches nothing at all, and so everywhere")
    return compiled
