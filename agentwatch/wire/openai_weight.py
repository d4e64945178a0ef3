"""What weighs in a request beside its text, and the refusal of what can't be weighed."""

from __future__ import annotations

from msgspec import Struct

from agentwatch.errors import Refusal


class Weight(Struct, frozen=True):
    """What there is beside plain text. `media_bytes` are bytes of the body that are no text."""

    images: int = 0
    media_bytes: int = 0
    by_reference: bool = False
    overhead: int = 0
    #: sound may come in: dearer rates are reachable
    sound: bool = False
    #: fees of hosted tools that may be called, and of what is rented once for them
    fees: frozenset[str] = frozenset()
    rents: frozenset[str] = frozenset()

    def __add__(self, other: Weight) -> Weight:
        return Weight(
            self.images + other.images,
            self.media_bytes + other.media_bytes,
            self.by_reference or other.by_reference,
            self.overhead + other.overhead,
            self.sound or other.sound,
            self.fees | other.fees,
            self.rents | other.rents,
        )


NOTHING = Weight()
STORED = Weight(by_reference=True)


def unpriced(what: str, remedy: str = "") -> Refusal:
    """The refusal of something whose cost has no bound."""
    return Refusal("model_not_priced", f"{what} can't be priced yet{remedy and ': '}{remedy}")


def sum_of(weights: list[Weight]) -> Weight:
    """All of them together."""
    total = NOTHING
    for weight in weights:
        if weight is not NOTHING:
            total = total + weight
    return total
