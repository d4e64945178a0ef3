"""Two spellings of a name, and no third."""

from __future__ import annotations

import pytest

from agentwatch.errors import Refusal
from agentwatch.wire.gemini_names import Names, snake

NAMES = Names("a thing", "maxOutputTokens", "data")


@pytest.mark.parametrize("spelling", ["maxOutputTokens", "max_output_tokens"])
def test_a_limit_in_the_other_spelling_gets_round_the_bound(spelling: str) -> None:
    assert NAMES.found([spelling, "other"]) == {"maxOutputTokens": spelling}


@pytest.mark.parametrize(
    "keys",
    [
        ["maxOutputTokens", "max_output_tokens"],
        ["MaxOutputTokens"],
        ["maxoutputtokens"],
        ["max_outputTokens"],
        ["MAX_OUTPUT_TOKENS"],
        ["Data"],
        ["data_"],
    ],
)
def test_what_some_parser_might_read_as_a_limit_is_refused(keys: list[str]) -> None:
    with pytest.raises(Refusal, match=r"a thing") as refusal:
        NAMES.found(keys)
    assert refusal.value.reason == "bad_request"


def test_the_first_that_is_not_known_is_named() -> None:
    assert NAMES.unknown(["data", "max_output_tokens"]) is None
    assert NAMES.unknown(["data", "newData"]) == "newData"


def test_a_name_in_snake_case() -> None:
    assert snake("parametersJsonSchema") == "parameters_json_schema"
    assert snake("data") == "data"
