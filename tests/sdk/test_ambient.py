"""Clients that are made inside of a session, whoever makes them and whenever they are imported."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import threading

import openai
import pytest
from harness import Daemon, chat

import agentwatch
from agentwatch import AgentBudgetExceeded


def test_a_plain_client_that_is_made_inside_is_free(beside: Daemon) -> None:
    with agentwatch.session(0.0000001):
        client = openai.OpenAI(api_key="x")
    with pytest.raises(AgentBudgetExceeded):
        client.chat.completions.create(**chat())


def test_a_client_that_is_made_outside_is_governed(beside: Daemon) -> None:
    with agentwatch.session(0.0000001):
        pass
    client = openai.OpenAI(api_key="x")
    assert not hasattr(client, "_agentwatch_gate")


def test_a_session_reaches_into_other_threads(beside: Daemon) -> None:
    made: list[openai.OpenAI] = []
    with agentwatch.session(1.0):
        thread = threading.Thread(target=lambda: made.append(openai.OpenAI(api_key="x")))
        thread.start()
        thread.join()
    assert not hasattr(made[0], "_agentwatch_gate")


def test_what_can_t_be_governed_is_told(beside: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    with agentwatch.session(1.0), caplog.at_level(logging.WARNING, "agentwatch"):
        openai.AzureOpenAI(api_key="x", api_version="1", azure_endpoint="https://a.example")
    assert "not governed" in caplog.text


def test_an_sdk_that_is_imported_inside_is_free(beside: Daemon) -> None:
    code = """
import agentwatch, sys
with agentwatch.session(0.0000001):
    assert "openai" not in sys.modules
    import openai
    client = openai.OpenAI(api_key="x")
    try:
        client.models.list()
        client.embeddings.create(model="text-embedding-3-small", input="x")
    except agentwatch.AgentBudgetExceeded:
        sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], env=beside.environ, timeout=60, check=False)
    assert done.returncode == 7


@pytest.mark.parametrize(
    ("package", "client"),
    [
        ("openai", "OpenAI"),
        ("anthropic", "Anthropic"),
        ("groq", "Groq"),
        ("google.genai", "Client"),
    ],
)
def test_a_client_without_a_key_is_only_made_where_the_caller_has_one(
    beside: Daemon, monkeypatch: pytest.MonkeyPatch, package: str, client: str
) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GROQ", "GOOGLE", "GEMINI"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    kind = getattr(importlib.import_module(package), client)
    with agentwatch.session(1.0):
        assert kind()._agentwatch_gate.session.id


def test_a_call_of_a_client_without_a_key_fails(
    beside: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with agentwatch.session(1.0):
        answer = openai.OpenAI().chat.completions.create(**chat())
    assert answer.choices
