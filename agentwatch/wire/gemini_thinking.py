"""Where a Gemini model's thinking stands to the output limit.

The documentation has thinking beside `maxOutputTokens`, measurements have it inside. So a limit
that the client set is taken for one of the answer alone, and a limit that is put in leaves room
for both: for models that take a budget the two together come to no more than was granted,
whichever is true.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: models that show all that they make
_NEVER = re.compile(r"gemini-(1|2\.0(?!.*thinking)|embedding|2\.5-flash-image)|.*-tts\b")
#: a budget is kept to by these alone; later ones take it for a hint, or refuse it
_TAKES_BUDGET = re.compile(r"gemini-2\.5-(pro|flash-lite|flash)")


class Range(NamedTuple):
    """The budgets that a model takes, and whether it takes none at all; whether it thinks where
    nothing is said."""

    least: int
    most: int
    can_be_off: bool
    by_itself: bool


_RANGES = {
    "pro": Range(128, 32_768, False, True),
    "flash": Range(1, 24_576, True, True),
    "flash-lite": Range(512, 24_576, True, False),
}


class Thinking(NamedTuple):
    """How much a request may think: `budget` tokens beside its limit; None: nothing but the
    model bounds it, and then `range` has the budgets that may be put in, if any."""

    budget: int | None
    range: Range | None = None
    #: nothing was said of it
    unset: bool = False

    def within(self, granted: int, limit: int | None) -> tuple[int, int | None]:
        """The output limit and the thinking budget (None: put none in) of a call that may have
        `granted` tokens in all; `limit` is the client's."""
        if self.budget is not None or self.range is None:
            return min(granted, limit or granted), None
        budget = self._share(granted, limit, self.range)
        left = max(1, granted - budget)
        return min(left, limit or left), budget

    def _share(self, granted: int, limit: int | None, known: Range) -> int:
        if self.unset and not known.by_itself:
            return 0
        wanted = max(granted // 3, granted - (limit or granted))
        if wanted < known.least:
            return 0 if known.can_be_off else known.least
        return min(wanted, known.most)


NONE = Thinking(0)


def thinking(model: str, budget: int | None, has_level: bool) -> Thinking:
    """What a request's thinkingBudget (None: not set; -1: as the model likes) and thinkingLevel
    make of it."""
    if _NEVER.match(model):
        return NONE
    known = _range(model)
    if known is None or has_level:
        return Thinking(None)
    if budget == 0 and known.can_be_off:
        return NONE
    if budget is not None and budget > 0:
        return Thinking(budget)
    return Thinking(None, known, unset=budget is None)


def _range(model: str) -> Range | None:
    found = _TAKES_BUDGET.match(model)
    return _RANGES[found[1]] if found else None
