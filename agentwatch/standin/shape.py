"""The smallest JSON value that fits a schema: what a model answers when it is held to one."""

from __future__ import annotations

from typing import Any

_PLAIN: dict[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "null": None,
}


def example(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """A value that fits `schema` (the subset that strict outputs allow)."""
    if not isinstance(schema, dict) or depth > 16:
        return None
    root = schema if root is None else root
    if "$ref" in schema:
        return example(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            return example(schema[union][0], root, depth + 1)
    return _typed(schema, root, depth)


def _typed(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: example(part, root, depth + 1) for name, part in properties.items()}
    if kind == "array":
        return [example(schema.get("items", {"type": "string"}), root, depth + 1)]
    return _PLAIN.get(str(kind))


def _resolve(reference: str, root: Any) -> Any:
    value = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        value = value.get(name) if name and isinstance(value, dict) else value
    return value
