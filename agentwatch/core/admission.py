"""May this call be sent, with which output limit, or must it wait? (ledger.md, rules 5 and 6)

One pure step over the accounts that the call is charged to. With `free = ceiling - settled - held`
and `room = ceiling - settled`, each the least over the accounts that bind it:

    a. the worst case fits into free                          -> held in full, unchanged
    b. asks for more than is useful, free pays for the useful -> a limit is put in: a share of free
    c. would fit if the open holds came to nothing            -> waits
    d. free pays for the least that is useful                 -> what is left is put in
       else                                                   -> refused
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from agentwatch.core.estimate import Quote


class Policy(Struct, frozen=True, kw_only=True):
    """How a session's money is shared out: `[enforcement]` of the configuration, in tokens."""

    useful_output_tokens: int = 4096
    min_output_tokens: int = 256
    clamp: bool = True


class Purse(Struct, frozen=True):
    """What one account lets a call spend, in nanos: now (`free`), and once no call is out
    (`room`)."""

    account: str
    free: int
    room: int


class Admitted(Struct, frozen=True):
    """Set `nanos` aside; `limit`, where given, is to be put into the request."""

    nanos: int
    limit: int | None


class Waits(Struct, frozen=True):
    """Only other calls' open holds on `account` stand in the way."""

    account: str
    nanos: int


class Refused(Struct, frozen=True):
    """The money of `account` is not there: the call would be let through with `nanos`."""

    account: str
    nanos: int


_free, _room = attrgetter("free"), attrgetter("room")


def admit(
    quote: Quote, purses: Iterable[Purse], policy: Policy, *, may_wait: bool = True
) -> Admitted | Waits | Refused:
    """Decide about one call. Without purses (no account binds) everything is admitted.

    `may_wait=False` is for a call whose wait has ended: it takes what is left, or is refused.
    """
    purses = tuple(purses)
    if quote.fixed_limit:
        policy = replace(policy, clamp=False)
    if not purses:
        return _unbound(quote, policy)
    tightest = min(purses, key=_free)
    free = tightest.free
    whole = quote.whole
    if whole is not None and whole <= free:
        return Admitted(whole, None)
    wants_much = quote.most is None or quote.most > policy.useful_output_tokens
    if policy.clamp and wants_much and quote.worst(policy.useful_output_tokens) <= free:
        return _share(quote, free, policy)
    needed = quote.worst(_least_wanted(quote, policy))
    never = whole is None and not policy.clamp
    if may_wait and not never and needed <= min(purse.room for purse in purses):
        return Waits(tightest.account, needed)
    if policy.clamp and quote.affordable(free) >= max(policy.min_output_tokens, 1):
        return _limited(quote, quote.affordable(free))
    least = quote.worst(_least_served(quote, policy))
    short = [purse for purse in purses if purse.free < least]
    return Refused(min(short or purses, key=_room).account, least)


def is_hopeless(quote: Quote, purses: Iterable[Purse], policy: Policy) -> bool:
    """Whether a call would be refused even if all open holds came to nothing."""
    emptied = [Purse(purse.account, purse.room, purse.room) for purse in purses]
    return isinstance(admit(quote, emptied, policy), Refused)


def _unbound(quote: Quote, policy: Policy) -> Admitted:
    limit = quote.most if quote.most is not None else policy.useful_output_tokens
    return Admitted(quote.worst(limit), None)


def _share(quote: Quote, free: int, policy: Policy) -> Admitted:
    """A quarter of what is free, which leaves room for the neighbours, or the price of a useful
    answer where that is more."""
    share = max(free // 4, quote.worst(policy.useful_output_tokens))
    return _limited(quote, quote.affordable(share))


def _limited(quote: Quote, limit: int) -> Admitted:
    if quote.most is not None and limit >= quote.most:
        return Admitted(quote.worst(quote.most), None)
    return Admitted(quote.worst(limit), limit)


def _least_served(quote: Quote, policy: Policy) -> int:
    """The output with which the call would have been let through: what a ceiling must allow."""
    if not policy.clamp:
        return _least_wanted(quote, policy)
    least = max(policy.min_output_tokens, 1)
    return least if quote.most is None else min(quote.most, least)


def _least_wanted(quote: Quote, policy: Policy) -> int:
    """The output that the call is worth waiting for."""
    if quote.most is None:
        return policy.useful_output_tokens
    if not policy.clamp:
        return quote.most
    return min(quote.most, policy.useful_output_tokens)
