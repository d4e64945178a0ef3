"""An agent that wants round its ceiling by way of the five wires, and the SDK's files.

The daemon is the real one, and what a provider was sent is in the stand-in's own books. Tricks that
one reader alone must see through are in that reader's own tests.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from harness import Agent, Daemon, chat, environment, new_home, running, wait_until
from listener import Listener

from agentwatch.standin.process import StandinProcess

MESSAGES = [{"role": "user", "content": "hi"}]
GEMINI = {"contents": [{"parts": [{"text": "hi"}]}]}
FLASH = "/v1beta/models/gemini-2.5-flash:generateContent"


def asked(base: str, path: str, **body: Any) -> tuple[str, str, dict[str, Any]]:
    return base, path, body


#: what would cost more than its hold, if it went out as it was read
DEARER = {
    "a system in other letters": asked(
        "/groq/openai/v1", "/chat/completions", model="Groq/Compound", messages=MESSAGES
    ),
    "agents in other letters": asked(
        "/xai/v1", "/chat/completions", model="GROK-4.20-multi-agent", messages=MESSAGES
    ),
    "a search in other letters": asked(
        "/openai/v1", "/chat/completions", model="GPT-4o-Search-Preview", messages=MESSAGES
    ),
    "two budgets for thinking": asked(
        "/gemini/v1beta/openai",
        "/chat/completions",
        model="gemini-2.5-flash",
        messages=MESSAGES,
        google={"thinking_config": {"thinking_budget": 24_576}},
        extra_body={"google": {"thinking_config": {"thinking_budget": 0}}},
    ),
    "a limit in two spellings": asked(
        "/gemini",
        FLASH,
        **GEMINI,
        generationConfig={"maxOutputTokens": 1, "max_output_tokens": 60_000},
    ),
    "a configuration in two spellings": asked(
        "/gemini",
        FLASH,
        **GEMINI,
        generationConfig={"maxOutputTokens": 1},
        generation_config={"maxOutputTokens": 60_000},
    ),
    "a search without a bound": asked(
        "/gemini", FLASH.replace("2.5", "3.8"), **GEMINI, tools=[{"googleSearch": {}}]
    ),
    "another model in the body": asked("/gemini", FLASH, **GEMINI, model="models/gemini-2.5-pro"),
    "a search in other letters of a tool": asked(
        "/anthropic",
        "/v1/messages",
        model="claude-haiku-4-5",
        max_tokens=9,
        messages=MESSAGES,
        tools=[{"Type": "web_search_20250305", "name": "web_search"}],
    ),
    "a server of tools": asked(
        "/anthropic",
        "/v1/messages",
        model="claude-haiku-4-5",
        max_tokens=9,
        messages=MESSAGES,
        mcp_servers=[{"url": "https://tools.example"}],
    ),
    "sources that cost": asked(
        "/xai/v1",
        "/chat/completions",
        model="grok-4",
        messages=MESSAGES,
        search_parameters={"mode": "ON"},
    ),
    "an answer that is fetched later": asked(
        "/xai/v1", "/chat/completions", model="grok-4", messages=MESSAGES, deferred=True
    ),
}


@pytest.mark.parametrize("what", DEARER)
def test_what_would_cost_more_than_its_hold_is_not_sent(
    what: str, daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(5.0)
    base, path, body = DEARER[what]
    reply = agent.post(path, body, base=base)
    assert 400 <= reply.status < 500 and reply.denied, reply.body
    assert standin.bill()["requests"] == 0
    assert agent.at_rest()["settled_usd"] == 0


def form(*fields: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form with a file called `image` and these fields."""
    file = b'name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG'
    heads = [file, *(b'name="%s"\r\n\r\n%s' % (name.encode(), value) for name, value in fields)]
    parts = [b"--b\r\nContent-Disposition: form-data; %s\r\n" % head for head in heads]
    return b"".join(parts) + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("n[]", b"10"), ("N", b"10"), ("quality[0]", b"high"), ("images[0][image_url]", b"https://x")],
)
def test_a_form_does_not_say_twice_how_much_it_costs(
    name: str, value: bytes, daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(5.0)
    fields = (("model", b"gpt-image-1"), ("prompt", b"a cat"), (name, value))
    body, headers = form(*fields)
    assert agent.post("/images/edits", body, headers).denied
    assert standin.bill()["requests"] == 0


# ---- the key


class Repeater(Listener):
    """A server that answers with a redirect to where it was asked, as frameworks do for a slash."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(None)
        self.port = self.address[1]

    def answer(self, connection: socket.socket) -> None:
        line = connection.recv(65_536).split(b"\r\n", 1)[0].decode()
        self.asked.append(line)
        where = f"http://127.0.0.1:{self.port}{line.split(' ')[1]}"
        connection.sendall(
            f"HTTP/1.1 307 There\r\nLocation: {where}\r\nContent-Length: 0\r\n"
            "Connection: close\r\n\r\n".encode()
        )


@pytest.fixture(scope="module")
def repeating(module_standin: StandinProcess) -> Iterator[tuple[Daemon, Repeater]]:
    """A daemon whose providers repeat what they are asked."""
    repeater = Repeater()
    upstreams = {
        f"{name}_upstream": f"http://127.0.0.1:{repeater.port}"
        for name in ("openai", "anthropic", "groq", "xai", "gemini")
    }
    with (
        closing(repeater),
        new_home() as home,
        running(Daemon(home, environment(home, module_standin, **upstreams))) as daemon,
    ):
        yield daemon, repeater


@pytest.mark.parametrize(
    ("base", "path", "body"),
    [
        ("/openai/v1", "/chat/completions", chat(max_tokens=5)),
        ("/anthropic", "/v1/messages", {**chat(max_tokens=5), "model": "claude-haiku-4-5"}),
        ("/groq", "/v1/chat/completions", {**chat(max_tokens=5), "model": "openai/gpt-oss-20b"}),
        ("/xai/v1", "/chat/completions", {**chat(max_tokens=5), "model": "grok-4"}),
        ("/gemini", FLASH, GEMINI),
    ],
)
def test_the_key_does_not_come_back_with_an_address(
    base: str,
    path: str,
    body: dict[str, Any],
    repeating: tuple[Daemon, Repeater],
    module_standin: StandinProcess,
) -> None:
    daemon, repeater = repeating
    agent = daemon.open(5.0)
    repeater.asked.clear()
    reply = agent.post(f"{path}?key={agent.token}", body, {"Authorization": ""}, base)
    assert reply.status == 307, reply.body
    (line,) = repeater.asked
    assert agent.token not in line
    # an address is kept in many a log: who has another place for the key is not sent it there
    assert (module_standin.key in line) == (base == "/gemini")
    assert module_standin.key not in str(reply.headers)


# ---- what the agent writes into the home, as it has the same uid


def forged(agent: Agent, name: str, **seen: Any) -> str:
    ask = {
        "provider": "openai",
        "api": "chat",
        "upstream_path": "",
        "model": "gpt-4o-mini",
        "input_bound": 10,
        "output_limit": 10,
    }
    record = {
        "version": 1,
        "id": name,
        "at": time.time(),
        "pid": 1,
        "session_id": agent.id,
        "terms": {},
        "ask": {**ask, **seen.pop("ask", {})},
        "seen": seen,
    }
    return json.dumps(record)


def test_forged_files_give_nothing_back_and_stop_nobody(
    start_daemon: Callable[..., Daemon], standin: StandinProcess
) -> None:
    daemon = start_daemon()
    agent = daemon.open(1.0)
    assert agent.post().status == 200
    spent = agent.at_rest()["settled_usd"]
    spool = daemon.home / "spool"
    files = {
        "a1": forged(agent, "a1", output_floor=-(10**9), output_ceiling=-(10**9)),
        "a2": forged(agent, "a2", ask={"input_bound": -(10**12)}),
        "a3": forged(agent, "a3", usage={"input_tokens": 1, "stated_nanos": -(10**12)}),
        "a4": '{"version":1,"id":"a4","at":1,"pid":1' + "0" * 30 + "}",
        "a5": "[" * 100_000,
        "a6": forged(agent, "a6", ask={"wanted": "x"}),
    }
    spool.mkdir(mode=0o700, exist_ok=True)

    def write_all() -> None:
        for name, text in files.items():
            (spool / f"{name}.json").write_text(text)

    def set_aside() -> bool:
        rejected = spool / "rejected"
        return rejected.is_dir() and len(list(rejected.iterdir())) == len(files)

    write_all()
    wait_until(set_aside, what="they are not set aside")
    assert agent.show()["settled_usd"] == spent
    daemon.down()
    write_all()
    daemon.up()
    assert agent.show()["settled_usd"] == spent
    assert agent.post().status == 200
    assert daemon.get("/v1/verify")["ledger"] == "ok"
