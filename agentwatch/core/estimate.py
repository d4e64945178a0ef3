"""The most that a request can cost, before it is sent.

A worst case is linear in the output limit, the one half of it that can be changed: a Quote keeps
the part that is fixed (input at its bound, hosted tools, predicted output) and the price of one
more token of limit. Sums are kept in nano-USD x 10^6 (`money.price_of`) and rounded up once.
"""

from __future__ import annotations

from msgspec import Struct

from agentwatch.core.money import TOKENS_PER_RATE, round_up

#: more output than any model gives: what can be paid for where output costs nothing
ENDLESS_TOKENS = 1 << 53


class Quote(Struct, frozen=True, kw_only=True):
    """A request's worst case as a function of its output limit.

    `fixed` and `per_token` are scaled by 10^6. `asked` is the limit that the client set; `most`
    is the output that can come when nothing is put in: the client's limit, else the model's own
    (None: nothing bounds it, so a limit must be put in). Limits are per choice, prices are for
    all choices. `fixed_limit`: the request has no field that a lower limit could be put into.
    """

    fixed: int
    per_token: int
    asked: int | None
    most: int | None
    fixed_limit: bool = False

    def worst(self, limit: int) -> int:
        """Nanos that the request can cost at most with this output limit."""
        return round_up(self.fixed + limit * self.per_token)

    @property
    def whole(self) -> int | None:
        """Nanos that the request can cost at most when no limit is put in; None: no bound."""
        if self.per_token == 0:
            return self.worst(0)
        return None if self.most is None else self.worst(self.most)

    def affordable(self, nanos: int) -> int:
        """The largest output limit whose worst case is within `nanos`; negative where not even
        the input is paid for."""
        spare = nanos * TOKENS_PER_RATE - self.fixed
        if spare < 0:
            return -1
        if self.per_token == 0:
            return ENDLESS_TOKENS
        return spare // self.per_token


def quote(
    *,
    input_bound: int,
    input_rate: int,
    output_rate: int,
    choices: int,
    asked: int | None,
    model_max: int | None,
    has_output: bool,
    extra_output: int = 0,
    fees_nanos: int = 0,
    fixed_limit: bool = False,
) -> Quote:
    """A request's Quote from its bound in tokens and the dearest rates that it can reach
    (nano-USD per million tokens)."""
    fixed = input_bound * input_rate + extra_output * output_rate + fees_nanos * TOKENS_PER_RATE
    if not has_output:
        return Quote(fixed=fixed, per_token=0, asked=None, most=0)
    most = model_max if asked is None else asked
    per_token = choices * output_rate
    return Quote(fixed=fixed, per_token=per_token, asked=asked, most=most, fixed_limit=fixed_limit)
