"""Money in integer nano-USD (1e-9): parsed and shown without floats.

Rates are integer nano-USD per million tokens, so that $0.0125 per million is exact.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal, InvalidOperation

from agentwatch.errors import UsageError

NANOS_PER_USD = 1_000_000_000
TOKENS_PER_RATE = 1_000_000

#: The most that any one amount may be: a million dollars. Redis' Lua counts exactly to 2^53
#: nano-USD (nine million), and a ceiling above this is a typing mistake.
MAX_NANOS = 1_000_000 * NANOS_PER_USD

_ONE_NANO = Decimal("1e-9")


def parse_usd(value: object, what: str = "amount") -> int:
    """USD as a number or text ("2", 2.0, "$0.05") to nanos, rounded down to a whole nano-USD.

    Raises UsageError for anything that is no finite amount from 0 to a million dollars.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise UsageError(f"{what} must be an amount in USD, like 2.00")
    if isinstance(value, (float, str)):
        value = str(value).strip().removeprefix("$")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise UsageError(f"{what} must be an amount in USD, like 2.00") from None
    if not amount.is_finite() or amount < 0:
        raise UsageError(f"{what} must be zero or more, like 2.00")
    if amount > MAX_NANOS // NANOS_PER_USD:
        raise UsageError(f"{what} is above a million USD, the most that a ceiling can be")
    if 0 < amount < _ONE_NANO:
        raise UsageError(f"{what} is below the smallest amount there is, 0.000000001 USD")
    return int(amount.quantize(_ONE_NANO, rounding=ROUND_DOWN) * NANOS_PER_USD)


def to_usd(nanos: int) -> float:
    """Nanos as the USD number of the wire. Exact to the nano-USD up to four million dollars."""
    return nanos / NANOS_PER_USD


def usd_text(nanos: int) -> str:
    """Nanos as exact decimal text with at least two decimals: "2.00", "0.00031"."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_USD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def usd_short(nanos: int) -> str:
    """Nanos for people: "$2.00", "$0.0132", four significant decimals below a dollar."""
    sign = "-" if nanos < 0 else ""
    amount = Decimal(abs(nanos)) / NANOS_PER_USD
    if amount >= 1 or amount == 0:
        return f"{sign}${amount:.2f}"
    if amount < Decimal("0.0001"):
        return f"{sign}${amount:.6f}"
    return f"{sign}${amount:.4f}"


def price_of(tokens: int, nanos_per_mtok: int) -> int:
    """What `tokens` cost at a rate, in nano-USD per million tokens x tokens: NOT yet divided.

    Sum these, then round once with `round_up`: a call is rounded up once, not once a part.
    """
    return tokens * nanos_per_mtok


def round_up(scaled: int) -> int:
    """A sum of `price_of` to whole nanos, rounded up."""
    return -(-scaled // TOKENS_PER_RATE)
