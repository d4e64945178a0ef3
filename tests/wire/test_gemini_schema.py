"""Schemas that stand for more than they show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.wire.gemini_schema import Endless, unrolled_size

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda k: k != "ref"), inner),
    max_leaves=20,
)


@given(JSON)
def test_a_schema_without_references_is_at_least_as_long_as_its_text(schema: Any) -> None:
    compact = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    # an escape is more bytes than what it stands for
    plain = compact.replace("\\", "").encode(errors="replace")
    assert unrolled_size(schema) + compact.count("\\u") * 6 >= len(plain)


def doubling(depth: int) -> dict[str, Any]:
    """A schema whose every level holds the next one twice."""
    levels = {
        f"a{at}": {"x": {"$ref": f"#/$defs/a{at + 1}"}, "y": {"$ref": f"#/$defs/a{at + 1}"}}
        for at in range(depth)
    }
    return {"$defs": {**levels, f"a{depth}": {"type": "string"}}, "$ref": "#/$defs/a0"}


def test_a_few_hundred_bytes_that_stand_for_megabytes_are_counted_as_those() -> None:
    schema = doubling(20)
    assert len(json.dumps(schema)) < 2_000
    assert unrolled_size(schema) > 2**20 * len('{"type":"string"}')


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_schema_that_refers_to_itself_has_no_length(schema: Any) -> None:
    with pytest.raises(Endless):
        unrolled_size(schema)


def test_a_reference_to_nothing_is_no_more_than_itself() -> None:
    assert unrolled_size({"$ref": "#/nowhere/at/all"}) < 100
