"""The wire's Ask meets the price book: worst cases, and what answers cost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench import book

from agentwatch.core.usage import Share, Usage
from agentwatch.daemon.quoting import charge, priced, quote_for
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask

ASK = Ask(
    provider="openai",
    api="chat",
    upstream_path="/chat/completions",
    model="gpt-4o",
    input_bound=1_000,
    output_limit=500,
    thinks=False,
)


class Told:
    """A meter that was told this usage, and saw this much."""

    def __init__(self, usage: Usage | None = None, floor: int = 0, **more: Any) -> None:
        self.usage = usage
        self.begun = more.get("begun")
        self.output_floor = floor
        self.output_ceiling = more.get("ceiling", floor + 32)
        self.model = more.get("model")
        self.service_tier = more.get("tier")
        self.error = more.get("error")
        self.complete = more.get("complete", True)


def asked(**changes: Any) -> Ask:
    return msgspec.structs.replace(ASK, **changes)


def quoted(ask: Ask, auto_tier: str | None = "default") -> Any:
    return quote_for(ask, priced(ask, book()), auto_tier)


def cost(ask: Ask, meter: Told, held: int | None = None) -> Any:
    quote = quoted(ask)
    held = quote.worst(ask.output_limit or 500) if held is None else held
    return charge(ask, quote, held, meter, book())


def test_a_slip_in_a_models_name_has_to_be_looked_for() -> None:
    with pytest.raises(Refusal, match=r"'gpt-4oo' has no known price \(did you mean 'gpt-4o'\?\)"):
        priced(asked(model="gpt-4oo"), book())


def test_an_unknown_model_costs_nothing() -> None:
    """litellm#25874, #30715, #36561."""
    ask = asked(model="no-such-model")
    with pytest.raises(Refusal) as refused:
        priced(ask, book())
    assert refused.value.reason == "model_not_priced"
    (price,) = priced(ask, book().with_unknown(10**9))
    assert price.source == "ceiling price"


@pytest.mark.parametrize(
    "change",
    [
        {"service_tier": "no-such-tier"},
        {"pieces": {"no_such_tool": 1}},
        {"audio_in": True},
    ],
)
def test_what_has_no_price_is_held_at_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        quoted(asked(**change))
    assert refused.value.reason == "model_not_priced"


def test_the_dearest_of_the_models_that_may_answer_is_held() -> None:
    dear, both = quoted(asked(model="gpt-4")), quoted(asked(also_models=("gpt-4",)))
    assert both.worst(500) == dear.worst(500)
    with pytest.raises(Refusal, match="no-such-model"):
        quoted(asked(also_models=("no-such-model",)))


def test_a_regions_surcharge_is_held_too() -> None:
    plain, dear = quoted(ASK), quoted(asked(uplift_thousandths=1100))
    assert dear.worst(500) * 10 == plain.worst(500) * 11


def test_what_another_model_did_is_charged_at_its_own_rates() -> None:
    """Compaction, advisors and fallbacks are outside of a report's totals."""
    share = Share(model="gpt-4", usage=Usage(input_tokens=100, output_tokens=10))
    alone = cost(ASK, Told(Usage(input_tokens=100, output_tokens=10)))
    both = cost(ASK, Told(Usage(input_tokens=100, output_tokens=10, shares=(share,))))
    assert both.nanos - alone.nanos == 100 * 30_000 + 10 * 60_000
    assert (both.input_tokens, both.output_tokens) == (200, 20)
    unknown = Usage(input_tokens=100, shares=(Share(model="no-such", usage=Usage(input_tokens=1)),))
    assert cost(ASK, Told(unknown)).reason == "unpriced"


def test_a_stream_that_broke_off_costs_what_its_last_report_said() -> None:
    """One token more had been made than the last report knew of: a hang-up paid 2,500 nanos less
    than was billed."""
    told = Usage(input_tokens=100, output_tokens=10)
    whole, broken = Told(told, ceiling=60), Told(told, ceiling=60)
    broken.complete = False
    assert cost(ASK, broken).nanos - cost(ASK, whole).nanos == 50 * 10_000
    assert cost(ASK, broken).basis == "estimate"


def test_a_report_above_the_hold_is_cut_where_the_stream_broke_off() -> None:
    told = Told(Usage(input_tokens=100_000, output_tokens=10), complete=False)
    assert cost(ASK, told, held=1_000).nanos == 100_000 * 2_500 + 10 * 10_000


def test_input_that_is_kept_at_the_provider_is_free() -> None:
    window = priced(ASK, book())[0].context_window
    assert window
    apart = quoted(asked(input_by_reference=True)).worst(0) - quoted(ASK).worst(0)
    assert apart == window * 2_500


def test_a_hosted_tool_is_free() -> None:
    ask = asked(pieces={"web_search": 7})
    fee = book().fee("openai", "web_search")
    assert fee
    assert quoted(ask).worst(0) - quoted(ASK).worst(0) == 7 * fee


def test_the_dearer_tier_that_an_auto_request_may_reach_is_forgotten() -> None:
    assert quoted(ASK, None).worst(500) > quoted(ASK, "default").worst(500)


def test_the_model_that_was_asked_for_is_charged_not_the_dearer_one_that_answered() -> None:
    """litellm#41344."""
    usage = Usage(input_tokens=100, output_tokens=10)
    mini = cost(asked(model="gpt-4o-mini"), Told(usage))
    dear = cost(asked(model="gpt-4o-mini"), Told(usage, model="gpt-4o-2024-08-06"))
    assert (mini.basis, dear.basis) == ("usage", "usage")
    assert dear.nanos == 100 * 2_500 + 10 * 10_000 > mini.nanos
    assert dear.model == "gpt-4o-2024-08-06"


def test_a_model_that_nobody_knows_answered_for_free() -> None:
    usage = Usage(input_tokens=100, output_tokens=10)
    charged = cost(ASK, Told(usage, model="gpt-99-secret"))
    assert charged.nanos == 100 * 2_500 + 10 * 10_000


def test_an_answer_in_a_tier_without_a_price_costs_the_hold() -> None:
    usage = Usage(input_tokens=100, output_tokens=10)
    charged = cost(ASK, Told(usage, tier="platinum"), held=777_777)
    assert (charged.nanos, charged.basis) == (777_777, "estimate")


def test_a_tier_that_the_answer_does_not_tell_is_the_cheaper_one() -> None:
    usage = Usage(input_tokens=100, output_tokens=10)
    silent = cost(asked(service_tier="priority"), Told(usage))
    told = cost(asked(service_tier="priority"), Told(usage, tier="default"))
    assert silent.nanos > told.nanos


@pytest.mark.parametrize(
    "usage", [None, Usage(input_tokens=10**9), Usage(), Usage(output_tokens=9)]
)
def test_no_usage_or_a_lie_costs_nothing(usage: Usage | None) -> None:
    charged = cost(ASK, Told(usage, floor=20, ceiling=90))
    assert charged.basis == "estimate"
    assert charged.nanos == quoted(ASK).worst(90)
    assert charged.reason


def test_a_call_that_failed_before_its_input_was_read_is_charged() -> None:
    charged = cost(ASK, Told(Usage(), error="the server had an error"))
    assert (charged.nanos, charged.basis) == (0, "usage")


def test_more_was_streamed_than_was_reported() -> None:
    usage = Usage(input_tokens=900, output_tokens=3)
    charged = cost(ASK, Told(usage, floor=300, ceiling=400))
    assert charged.basis == "estimate"
    assert charged.nanos == quoted(ASK).worst(400)


def test_thinking_that_was_not_seen_is_free() -> None:
    """An agent that hangs up while the model thinks."""
    ask, meter = asked(thinks=True, output_limit=20_000), Told(None, ceiling=32)
    quote = quoted(ask)
    held = quote.worst(20_000)
    short, long = (charge(ask, quote, held, meter, book(), seconds) for seconds in (2.5, 3_600))
    assert short.nanos == quote.worst(32 + 750)
    assert long.nanos == held
    told = charge(ask, quote, held, Told(Usage(input_tokens=9, output_tokens=2)), book(), 3_600)
    assert told.nanos == 9 * 2_500 + 2 * 10_000
    silent = charge(asked(output_limit=20_000), quote, held, meter, book(), 3_600)
    assert silent.nanos == quote.worst(32)


def test_embeddings_are_charged_for_output() -> None:
    ask = asked(model="text-embedding-3-small", has_output=False, output_limit=None)
    charged = cost(ask, Told(None, ceiling=0), held=10**9)
    assert charged.nanos == quoted(ask).worst(0) == 1_000 * 20


sizes = st.integers(0, 5_000)


@given(floor=sizes, more=sizes, held=st.integers(0, 10**8), choices=st.integers(1, 5))
def test_an_estimate_is_below_what_was_seen_or_above_the_hold_for_a_guess(
    floor: int, more: int, held: int, choices: int
) -> None:
    ask = asked(choices=choices)
    charged = cost(ask, Told(None, floor=floor, ceiling=floor + more), held)
    quote = quoted(ask)
    # within one token of each choice
    certain = quote.worst(-(-floor // choices)) if floor else 0
    assert charged.nanos >= min(held, quote.worst((floor + more) // choices))
    assert charged.nanos >= certain
    assert charged.nanos <= max(held, certain)


@given(given_tokens=sizes, made=sizes)
def test_reported_usage_is_cut_by_the_hold(given_tokens: int, made: int) -> None:
    usage = Usage(input_tokens=given_tokens + 1, output_tokens=made)
    charged = cost(ASK, Told(usage), held=1)
    assert charged.nanos == (given_tokens + 1) * 2_500 + made * 10_000
    assert (charged.input_tokens, charged.output_tokens) == (given_tokens + 1, made)


def test_thinking_beside_the_limit_is_not_held() -> None:
    inside, beside = quoted(ASK), quoted(asked(thinks_beside_limit=True))
    assert (inside.most, beside.most) == (500, 500 + 16_384)
    assert quoted(asked(thinks_beside_limit=True, output_limit=None)).most == 2 * 16_384
    # a limit that is put in covers both
    assert inside.worst(300) == beside.worst(300)


def test_sound_is_held_by_the_second_where_the_model_is_billed_so() -> None:
    ask = asked(model="whisper-1", units={"audio_ms": 90_000}, audio_in=True, fixed_output=True)
    quoted = quote_for(ask, priced(ask, book()), None)
    assert (quoted.whole, quoted.fixed_limit) == (9_000_000, True)
    told = Told(Usage(pieces={"audio_ms": 80_000}))
    assert charge(ask, quoted, 9_000_000, told, book()).nanos == 8_000_000
    assert charge(ask, quoted, 9_000_000, told, book()).basis == "usage"
    assert charge(ask, quoted, 9_000_000, Told(Usage(input_tokens=5)), book()).nanos == 9_000_000
    assert charge(ask, quoted, 9_000_000, Told(), book()).nanos == 9_000_000


def test_sound_is_held_by_the_token_where_the_model_is_billed_so() -> None:
    ask = asked(model="gpt-4o-transcribe", units={"audio_ms": 90_000}, audio_in=True)
    quoted = quote_for(ask, priced(ask, book()), None)
    assert quoted.whole == 1_000 * 6_000 + 500 * 10_000


@pytest.mark.parametrize("model", ["whisper-1", "tts-1", "dall-e-3"])
def test_a_model_billed_by_the_piece_chats_for_nothing(model: str) -> None:
    for units in ({}, {"hours": 1}):
        with pytest.raises(Refusal):
            quote_for(asked(model=model, units=units), priced(asked(model=model), book()), None)


def test_the_text_of_a_transcript_is_taken_for_output_that_was_not_told() -> None:
    ask = asked(model="whisper-1", units={"audio_ms": 90_000}, audio_in=True, fixed_output=True)
    quoted = quote_for(ask, priced(ask, book()), None)
    told = Told(Usage(pieces={"audio_ms": 80_000}), floor=50)
    assert charge(ask, quoted, 9_000_000, told, book()).nanos == 8_000_000
