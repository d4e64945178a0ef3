"""The stand-in as Anthropic: which requests it takes, and what it bills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from agentwatch.standin.anthropic import Anthropic
from agentwatch.standin.process import StandinProcess
from agentwatch.standin.provider import BadRequestError

ASKED: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hello"}],
}


@pytest.fixture
def client(standin: StandinProcess) -> Iterator[anthropic.Anthropic]:
    options: dict[str, Any] = {"max_retries": 0, "timeout": 10}
    with anthropic.Anthropic(
        base_url=standin.of("anthropic"), api_key=standin.key, **options
    ) as sdk:
        yield sdk


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"x-api-key": "k"}, "k"),
        ({"Authorization": "Bearer k"}, "k"),
        ({"x-api-key": "k", "Authorization": "Bearer k"}, "k"),
        ({"x-api-key": "k", "Authorization": "Bearer other"}, None),
        ({}, None),
    ],
)
def test_the_key_may_come_in_two_slots_but_not_two_keys(
    headers: dict[str, str], key: str | None
) -> None:
    assert Anthropic().credential(headers, {}) == key


def test_what_is_free(client: anthropic.Anthropic, standin: StandinProcess) -> None:
    counted = client.messages.count_tokens(
        model="claude-haiku-4-5", messages=[{"role": "user", "content": "hello"}]
    )
    assert counted.input_tokens == 14
    assert "claude-opus-5" in [model.id for model in client.models.list()]
    assert client.models.retrieve("claude-opus-5").id == "claude-opus-5"
    assert standin.bill()["billed_nanos"] == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"max_tokens": None}, anthropic.BadRequestError),
        ({"max_tokens": 64_001}, anthropic.BadRequestError),
        ({"messages": []}, anthropic.BadRequestError),
        ({"model": "claude-nobody"}, anthropic.NotFoundError),
        ({"thinking": {"type": "enabled", "budget_tokens": 50}}, anthropic.BadRequestError),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 2000},
            anthropic.BadRequestError,
        ),
    ],
)
def test_it_is_strict_where_anthropic_is(
    client: anthropic.Anthropic, change: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.messages.create(**{**ASKED, **change})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(402, "billing_error"), (429, "rate_limit_error"), (529, "overloaded_error")],
)
def test_its_errors_have_anthropics_shape(status: int, kind: str) -> None:
    assert f'"type":"{kind}"'.encode() in Anthropic().error(status)


def test_an_unknown_path_is_not_found() -> None:
    with pytest.raises(BadRequestError) as told:
        Anthropic().read("POST", "/v1/complete", b"{}")
    assert told.value.status == 404


def test_the_bill_has_a_line_for_each_models_part(standin: StandinProcess) -> None:
    provider, call = (
        Anthropic(),
        Anthropic().read(
            "POST",
            "/v1/messages",
            b"""{
        "model": "claude-sonnet-5", "max_tokens": 9, "inference_geo": "us",
        "messages": [{"role": "user", "content": "hello"}]}""",
        ),
    )
    from agentwatch.standin.bill import Entry
    from agentwatch.standin.script import Script

    entry = Entry(id="r", method="POST", path="/", started_at=0.0, model=call.model)
    entry.prompt_tokens, entry.completion_tokens, entry.cached = 100, 10, 40
    script = Script(iterations="compaction:50:5+advisor_message:30:2:claude-opus-5", write_long=20)
    provider.note(entry, call, script)
    main = 40 * 2_000 + 40 * 200 + 20 * 4_000 + 10 * 10_000
    beside = (50 * 2_000 + 5 * 10_000) + (30 * 5_000 + 2 * 25_000)
    assert provider.cost(entry) * 10 == (main + beside) * 11
