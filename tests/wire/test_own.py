"""The wires of providers of the user's own."""

from __future__ import annotations

from typing import get_args, get_type_hints

from agentwatch.sections import ProviderSettings
from agentwatch.wire.own import WIRES


def test_each_wire_that_can_be_configured_is_spoken_under_the_given_name() -> None:
    literal, _ = get_args(get_type_hints(ProviderSettings)["wire"])
    assert set(get_args(literal)) == WIRES.keys()
    assert all(make("mine").name == "mine" for make in WIRES.values())
