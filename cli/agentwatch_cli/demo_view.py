"""What `agentwatch demo` shows: the agent's calls as they come, and the ceiling that stops them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from agentwatch_cli.output import harmless, say, usd

_WIDEST = 92
_ROWS = 14
#: of a line, what is not its bar: the border, the call's number, tokens and money
_FIGURES = 43
#: the lines of a picture that are no calls: border, money, projection, refusal
_OTHER_LINES = 13
#: up to which call the projection goes: about where the model's context would be full
PROJECTED_CALLS = 80

Event = Mapping[str, Any]


class Story:
    """The calls so far: what they cost, and where that would have led."""

    def __init__(self, ceiling_usd: float) -> None:
        self.ceiling_usd = ceiling_usd
        self.calls: list[Event] = []
        self.refusal: Event | None = None

    def take(self, event: Event) -> None:
        """Add one event of the agent's."""
        if "refused" in event:
            self.refusal = event
        else:
            self.calls.append(event)

    @property
    def spent_usd(self) -> float:
        """USD that all calls so far have cost."""
        return round(sum(self._costs()), 9)

    def _costs(self) -> list[float]:
        return [float(call["cost_usd"]) for call in self.calls]

    def projected_usd(self, calls: int = PROJECTED_CALLS) -> float:
        """USD that so many calls would have cost, had each gone on growing like these."""
        if len(self.calls) < 2:
            return self.spent_usd
        costs = self._costs()
        first = costs[0]
        growth = (costs[-1] - first) / (len(costs) - 1)
        return round(calls * first + growth * calls * (calls - 1) / 2, 6)


class PlainView:
    """One line a call, for pipes and logs."""

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, story: Story) -> None:
        """Tell the newest event."""
        if story.refusal is not None:
            say(f"call {story.refusal['call']:>2}  REFUSED: {story.refusal['refused']}")
            return
        call = story.calls[-1]
        say(
            f"call {call['call']:>2}  {call['prompt_tokens']:>7,} tokens in  "
            f"{usd(call['cost_usd'])}  spent {usd(story.spent_usd)} of {usd(story.ceiling_usd)}"
        )


class LiveView:
    """The same drawn: prompts that grow, and money that goes."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="visible")

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, story: Story) -> None:
        """Draw the story as it stands."""
        self._live.update(_picture(story, Frame.of(*self._console.size)))
        self._live.refresh()


class Frame(NamedTuple):
    """What fits on the screen: columns of the panel and of its bars, rows of calls."""

    width: int
    bar: int
    rows: int

    @classmethod
    def of(cls, columns: int, lines: int) -> Frame:
        """For a terminal of this size: the money and the refusal are on it at all times."""
        width = max(_FIGURES + 10, min(_WIDEST, columns))
        return cls(width, width - _FIGURES, max(3, min(_ROWS, lines - _OTHER_LINES)))


def view() -> AbstractContextManager[PlainView | LiveView]:
    """The view that fits standard output."""
    return LiveView() if sys.stdout.isatty() else PlainView()


def _picture(story: Story, frame: Frame) -> Any:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    parts = [*_calls(story, frame), Text(), _money(story, frame.bar), _projection(story)]
    if story.refusal is not None:
        parts += [Text(), _refused(story.refusal)]
    title = "a runaway agent: each call carries all that went before"
    return Panel(
        Group(*parts), title=title, title_align="left", border_style="dim", width=frame.width
    )


def _calls(story: Story, frame: Frame) -> list[Any]:
    from rich.text import Text

    shown = story.calls[-frame.rows :]
    most = max((call["prompt_tokens"] for call in shown), default=1)
    lines = []
    for call in shown:
        line = Text().append(f"call {call['call']:>3}  ", style="dim")
        bar = _bar(call["prompt_tokens"] / most, frame.bar)
        line.append(bar.ljust(frame.bar), style="cyan")
        line.append(f" {call['prompt_tokens']:>8,} tokens {usd(call['cost_usd']):>8}", style="")
        lines.append(line)
    return lines


def _money(story: Story, width: int) -> Any:
    from rich.text import Text

    share = min(1.0, story.spent_usd / story.ceiling_usd)
    colour = "green" if share < 0.6 else "yellow" if share < 0.85 else "red"
    line = Text().append("spent     ", style="bold")
    line.append(_bar(share, width).ljust(width, "·"), style=colour)
    line.append(f" {usd(story.spent_usd)} of {usd(story.ceiling_usd)}", style="bold")
    return line


def _projection(story: Story) -> Any:
    from rich.text import Text

    text = f"left alone: {usd(story.projected_usd())} by call {PROJECTED_CALLS}"
    return Text(f"          {text}", style="dim")


def _refused(refusal: Event) -> Any:
    from rich.text import Text

    line = Text().append(f"call {refusal['call']:>3}  ", style="dim")
    line.append(" REFUSED ", style="bold white on red")
    line.append(f"  HTTP {refusal['status']}, nothing was sent to the provider\n")
    line.append(harmless(refusal["refused"]), style="yellow")
    return line


def _bar(share: float, width: int) -> str:
    eighths = max(1, round(share * width * 8))
    full, rest = divmod(eighths, 8)
    return "█" * full + ("" if rest == 0 else "▏▎▍▌▋▊▉"[rest - 1])
