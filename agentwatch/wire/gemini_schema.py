"""How long a JSON schema is once its references are unrolled, as Gemini does before it reads it.

A schema of a few hundred bytes whose parts refer to one another can stand for megabytes of prompt.
"""

from __future__ import annotations

from typing import Any

#: bytes of a number, true, false or null, generously
_PLAIN = 24
#: what stands around a key or an item
_FRAME = 6


class Endless(Exception):
    """A schema that refers to itself: it is unrolled to a depth that nobody tells."""


def unrolled_size(schema: Any) -> int:
    """Bytes of the schema with every `$ref` in its place. Raises Endless."""
    return _Unroller(schema).size(schema)


class _Unroller:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[str, int] = {}
        self._open: set[str] = set()

    def size(self, node: Any) -> int:
        if isinstance(node, dict):
            own = _FRAME + sum(
                len(key.encode()) + _FRAME + self.size(part) for key, part in node.items()
            )
            reference = node.get("$ref", node.get("ref"))
            return own + (self._referred(reference) if isinstance(reference, str) else 0)
        if isinstance(node, list):
            return sum(_FRAME + self.size(part) for part in node) + _FRAME
        return len(node.encode(errors="replace")) + _FRAME if isinstance(node, str) else _PLAIN

    def _referred(self, reference: str) -> int:
        if reference in self._open:
            raise Endless
        if reference not in self._known:
            self._open.add(reference)
            self._known[reference] = self.size(self._target(reference))
            self._open.discard(reference)
        return self._known[reference]

    def _target(self, reference: str) -> Any:
        node = self._root
        for part in filter(None, reference.removeprefix("#").split("/")):
            node = node.get(part) if isinstance(node, dict) else None
        return node
