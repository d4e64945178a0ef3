"""A quote and its inverse: what is affordable is paid for, and not a token less."""

from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.estimate import ENDLESS_TOKENS, Quote, quote
from agentwatch.core.money import TOKENS_PER_RATE

scaled = st.integers(0, 10**16)
limits = st.integers(0, 2_000_000)
nanos = st.integers(-(10**12), 10**15)


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    most = draw(st.none() | limits)
    return Quote(fixed=draw(scaled), per_token=draw(scaled), asked=most, most=most)


@given(quotes(), limits)
def test_money_for_a_limit_affords_that_limit(asked: Quote, limit: int) -> None:
    assert asked.affordable(asked.worst(limit)) >= limit


@given(quotes(), nanos)
def test_what_is_affordable_costs_no_more_than_there_is(asked: Quote, money: int) -> None:
    limit = asked.affordable(money)
    if limit < 0:
        assert asked.worst(0) > money
    else:
        assert asked.worst(limit) <= money


@given(quotes(), nanos)
def test_one_token_more_than_is_affordable_is_not(asked: Quote, money: int) -> None:
    limit = asked.affordable(money)
    if asked.per_token and limit >= 0:
        assert asked.worst(limit + 1) > money


@given(quotes(), limits, limits)
def test_a_higher_limit_is_never_cheaper(asked: Quote, one: int, other: int) -> None:
    assert asked.worst(min(one, other)) <= asked.worst(max(one, other))


def test_output_that_costs_nothing_is_afforded_without_end() -> None:
    free = quote(
        input_bound=10,
        input_rate=1_000_000_000,
        output_rate=0,
        choices=1,
        asked=None,
        model_max=None,
        has_output=True,
    )
    assert free.whole == 10_000
    assert free.affordable(10_000) == ENDLESS_TOKENS
    assert free.affordable(9_999) == -1


def test_a_request_without_output_costs_its_input_and_its_fees() -> None:
    embedding = quote(
        input_bound=1_000,
        input_rate=20_000_000,
        output_rate=0,
        choices=1,
        asked=None,
        model_max=8_192,
        has_output=False,
        fees_nanos=7,
    )
    assert embedding.most == 0
    assert embedding.whole == 20_000 + 7


def test_every_choice_predicted_token_and_hosted_tool_is_in_the_worst_case() -> None:
    dear = quote(
        input_bound=100,
        input_rate=3 * TOKENS_PER_RATE,
        output_rate=15 * TOKENS_PER_RATE,
        choices=4,
        asked=50,
        model_max=1_000,
        has_output=True,
        extra_output=20,
        fees_nanos=1_000,
    )
    assert dear.whole == 100 * 3 + 20 * 15 + 4 * 50 * 15 + 1_000


def test_a_request_without_a_limit_is_bounded_by_its_model_or_by_nothing() -> None:
    def asked(model_max: int | None) -> Quote:
        return quote(
            input_bound=0,
            input_rate=0,
            output_rate=TOKENS_PER_RATE,
            choices=1,
            asked=None,
            model_max=model_max,
            has_output=True,
        )

    assert asked(4_000).whole == 4_000
    assert asked(None).whole is None


def test_a_part_of_a_nano_is_charged_as_a_whole_one() -> None:
    assert Quote(fixed=1, per_token=0, asked=0, most=0).worst(0) == 1
