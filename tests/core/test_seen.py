"""What was seen of an answer is the same when it was written down in between."""

from __future__ import annotations

import msgspec

from agentwatch.core.seen import Seen
from agentwatch.core.usage import Share, Usage


def test_a_reading_survives_being_written_down() -> None:
    share = Share(model="small", usage=Usage(input_tokens=2))
    usage = Usage(input_tokens=7, output_tokens=3, pieces={"web_search": 2}, shares=(share,))
    seen = Seen(usage=usage, model="m", service_tier="flex", complete=True, output_ceiling=9)
    assert msgspec.convert(msgspec.to_builtins(seen), Seen) == seen


def test_its_readings_are_the_meter_s() -> None:
    from agentwatch.wire.openai_chat import ChatBody

    meter = ChatBody()
    assert all(hasattr(meter, name) for name in Seen.__struct_fields__)
