"""The demo: its agent speaks the real wire, its story adds up, its stage is gone afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from agentwatch_cli import demo_agent, demo_scene
from agentwatch_cli.demo_view import Frame, PlainView, Story, _picture

AGENT = [sys.executable, "-m", "agentwatch_cli.demo_agent"]
REFUSAL = {"call": 3, "status": 400, "refused": "spent + held", "code": "agent_budget_exceeded"}


def _call(number, tokens, cost):
    return {"call": number, "prompt_tokens": tokens, "completion_tokens": 60, "cost_usd": cost}


@contextmanager
def _provider(served: int):
    """Serves so many calls, then refuses as the daemon does; gives the prompts that it saw."""
    seen: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Authorization"] == "Bearer aws_t"
            seen.append(sum(len(m["content"]) for m in body["messages"]))
            refused = len(seen) > served
            usage = {"prompt_tokens": seen[-1] // 4, "completion_tokens": 2}
            choice = {"message": {"role": "assistant", "content": "again"}}
            answer = {"choices": [choice], "usage": usage}
            if refused:
                answer = {"error": {"message": "no money", "code": "agent_budget_exceeded"}}
            raw = json.dumps(answer).encode()
            self.send_response(400 if refused else 200)
            self.send_header("x-agentwatch-cost-usd", "0.01")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", seen
    server.shutdown()
    server.server_close()


def test_the_agent_carries_all_along_and_ends_at_the_first_refusal():
    with _provider(served=4) as (url, seen):
        env = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "aws_t"}
        done = subprocess.run(
            [*AGENT, "--events"], env=env, capture_output=True, text=True, timeout=20
        )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1, done.stderr
    assert seen == sorted(set(seen)) and len(seen) == 5
    assert [event.get("cost_usd") for event in events] == [0.01] * 4 + [None]
    assert events[-1] == {**REFUSAL, "call": 5, "refused": "no money"}


def test_the_agent_ends_by_itself_though_nothing_stops_it(monkeypatch, capsys):
    figures = {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    answer = {**figures, "choices": [{"message": {"content": None}}]}
    monkeypatch.setattr(demo_agent, "ask", lambda messages: (answer, {}))
    monkeypatch.setattr(sys, "argv", ["demo_agent"])
    assert demo_agent.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == demo_agent.MOST_CALLS


def test_the_story_adds_up_and_goes_on_as_it_began():
    story = Story(0.5)
    for number, cost in enumerate((0.1, 0.2), start=1):
        story.take(_call(number, number * 1000, cost))
    assert story.spent_usd == 0.3
    assert story.projected_usd(4) == pytest.approx(0.1 + 0.2 + 0.3 + 0.4)


def test_the_refusal_is_told_in_the_daemons_words(capsys):
    story = Story(0.5)
    for event in (_call(1, 1000, 0.1), REFUSAL):
        story.take(event)
        PlainView().show(story)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "call  1    1,000 tokens in  $0.1000  spent $0.1000 of $0.5000"
    assert lines[1] == "call  3  REFUSED: spent + held"


def test_the_picture_can_be_drawn_at_every_moment():
    from rich.console import Console

    story = Story(0.5)
    console = Console(width=100)
    with console.capture() as capture:
        console.print(_picture(story, Frame.of(100, 30)))
        for number in range(1, 40):
            story.take(_call(number, number * 1000, 0.02))
            console.print(_picture(story, Frame.of(100, 30)))
        story.take({**REFUSAL, "refused": "\x1b]0;x\x07[red]no"})
        console.print(_picture(story, Frame.of(100, 30)))
    text = capture.get()
    assert "REFUSED" in text and "[red]no" in text
    assert "\x1b]0" not in text


@pytest.mark.parametrize(("columns", "lines"), [(100, 30), (80, 24), (200, 60)])
def test_a_picture_fits_its_screen_with_one_line_a_call(columns, lines):
    from rich.console import Console

    story = Story(0.5)
    for number in range(1, 40):
        story.take(_call(number, number * 5000, 0.012))
    words = "AgentWatch: the budget of session s-20261123-182101-2a4db0 does not allow this call: "
    words += "spent $0.4454675 + held $0.00 + asked $0.11444825 = $0.55991575 > ceiling $0.50. "
    words += "To go on: agentwatch sessions budget s-20261123-182101-2a4db0 USD"
    story.take({**REFUSAL, "refused": words})
    console = Console(width=columns)
    with console.capture() as capture:
        console.print(_picture(story, Frame.of(columns, lines)))
    drawn = capture.get().splitlines()
    assert len(drawn) < lines
    calls = [line for line in drawn if "│ call" in line and "REFUSED" not in line]
    assert len(calls) >= 5 and all("tokens" in line and "$" in line for line in calls)
    assert "spent     " in capture.get()


def test_the_demos_agent_is_stopped_and_the_provider_says_the_same(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path), "OPENAI_API_KEY": "sk-not-to-be-used"}
    done = subprocess.run(
        [sys.executable, "-m", "agentwatch_cli", "demo", "--budget", "0.10"],
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert "REFUSED: AgentWatch: the budget of session" in done.stdout
    spent = re.search(r"spent (\S+) \+ held", done.stdout)
    assert spent is not None
    assert f"The provider's own bill:\n{spent[1]}. Left alone, 80 calls" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_demos_programs_see_no_real_key_and_no_home_of_the_users(tmp_path):
    environ = {"ANTHROPIC_API_KEY": "real", "AGENTWATCH_STATE_URL": "redis://u", "PATH": "/bin"}
    made = demo_scene._environment(environ, tmp_path, 99)
    assert made == {
        "PATH": "/bin",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "AGENTWATCH_HOME": str(tmp_path),
        "AGENTWATCH_PORT": "0",
        "AGENTWATCH_OPENAI_UPSTREAM": "http://127.0.0.1:99/v1",
        "OPENAI_API_KEY": "standin-key",
    }


@pytest.mark.parametrize("end", [None, KeyboardInterrupt, SystemExit])
def test_the_stage_is_gone_however_the_play_ends(monkeypatch, end):
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(demo_scene.Scene, "do", lambda self, *args: done.append(args))
    handler = signal.getsignal(signal.SIGTERM)
    seen: list[Path] = []

    def play() -> None:
        with demo_scene.scene(os.environ) as stage:
            seen.append(stage.home)
            assert stage.home.is_dir()
            if end is not None:
                raise end

    if end is None:
        play()
    else:
        with pytest.raises(end):
            play()
    assert done == [("up",), ("down",)]
    assert not seen[0].exists()
    assert signal.getsignal(signal.SIGTERM) == handler
