"""Examples of schemas: what a strict model would answer with."""

from __future__ import annotations

from agentwatch.standin.shape import example


def test_an_object_has_all_its_properties_of_their_types() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": ["integer", "null"]},
            "tags": {"type": "array", "items": {"enum": ["b", "a"]}},
            "ok": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "kind": {"const": "x"},
        },
    }
    assert example(schema) == {"name": "text", "age": 1, "tags": ["b"], "ok": True, "kind": "x"}


def test_references_are_followed_and_endless_ones_end() -> None:
    schema = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/Node"}},
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    value = example(schema)
    depth = 0
    while value:
        value, depth = value["next"], depth + 1
    assert 3 < depth < 20
