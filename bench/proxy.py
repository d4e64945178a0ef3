"""What a call costs more through AgentWatch: `python bench/proxy.py` (or `make bench`).

Direct, a bare aiohttp pass-through and AgentWatch in one run against one canned provider, taking
turns within each round, so that what else the machine does meets all three. Per size of the
request's body, calls at once, and streamed or not: latency at p50 and p99 and what was added to
the direct way, CPU of the process in between for each call, time to the first chunk, calls a
second.

Kinds: "whole" and "stream" are flat out (each connection calls again at once: at 16 and 64 the
latency is that of a queue before whatever is slowest); "paced" has a provider that takes 20 ms, so
that what is added is what a user of an unhurried proxy would notice.

Load and provider are kept on one core and what is measured on another where there are two.
At the end, what AgentWatch charged must equal what the provider billed: a fast proxy with
wrong books would be no result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sides

SIZES = (1_000, 100_000)
AT_ONCE = (1, 16, 64)
CALLS = {1: 300, 16: 1_600, 64: 3_200}
PACED_CALLS = {1: 60, 16: 480, 64: 1_600}
KINDS = ("whole", "stream", "paced")
ROUNDS = 3
#: a call is settled after its last byte went out; so long at the most
SETTLED_S = 3.0


@dataclass
class Cell:
    """All figures of one side at one size, concurrency and kind."""

    side: str
    size: int
    at_once: int
    kind: str
    latency_us: list[float] = field(default_factory=list)
    first_us: list[float] = field(default_factory=list)
    cpu_ns: int = 0
    wall_s: float = 0.0
    failed: int = 0

    def figures(self, plain: Cell | None) -> dict[str, Any]:
        """One row of the table; `plain` is the direct side's cell."""
        calls = len(self.latency_us)
        row: dict[str, Any] = {
            "side": self.side,
            "body_bytes": self.size,
            "at_once": self.at_once,
            "kind": self.kind,
            "calls": calls,
            "failed": self.failed,
            "p50_us": quantile(self.latency_us, 0.5),
            "p99_us": quantile(self.latency_us, 0.99),
            "first_p50_us": quantile(self.first_us, 0.5) if self.kind == "stream" else None,
            "first_p99_us": quantile(self.first_us, 0.99) if self.kind == "stream" else None,
            "cpu_us_per_call": self.cpu_ns / 1000 / calls if self.cpu_ns and calls else None,
            "calls_per_s": calls / self.wall_s if self.wall_s else None,
        }
        for name in ("p50_us", "p99_us", "first_p50_us", "first_p99_us"):
            base = plain.figures(None)[name] if plain is not None else None
            known = base is not None and row[name] is not None
            row[f"added_{name}"] = row[name] - base if known else None
        return row


def quantile(values: list[float], share: float) -> float | None:
    """The value below which `share` of them lie (nearest rank), None of none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


class Load:
    """The load generator's process."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("load.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def run(self, side: sides.Side, cell: Cell, calls: int) -> None:
        """Have `calls` calls made to a side, and put the figures into the cell."""
        assert self._process.stdin and self._process.stdout
        job = {"port": side.port, "path": side.path, "key": side.key, "size": cell.size}
        job |= {"at_once": cell.at_once, "calls": calls, "stream": cell.kind == "stream"}
        job["paced"] = cell.kind == "paced"
        before = side.cpu_ns()
        print(json.dumps(job), file=self._process.stdin, flush=True)
        figures = json.loads(self._process.stdout.readline())
        after = side.cpu_ns()
        cell.cpu_ns += after - before if before is not None and after is not None else 0
        cell.latency_us += figures["latency_us"]
        cell.first_us += figures["first_us"]
        cell.wall_s += figures["wall_s"]
        cell.failed += figures["failed"]

    def close(self) -> None:
        """End it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def pin(pid: int, cores: set[int]) -> None:
    """Keep a process and its threads on these cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def split_cores(load: Load, provider: sides.Provider, between: list[sides.Side]) -> bool:
    """Load and provider on the first core, what is measured on the last. False: only one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return False
    for pid in (load.pid, provider.pid):
        pin(pid, {cores[0]})
    for side in between:
        if side.pid is not None:
            pin(side.pid, {cores[-1]})
    return True


def measure(load: Load, compared: list[sides.Side], options: argparse.Namespace) -> list[Cell]:
    """All cells, each side in turn within a round, and another one first in each round."""
    kinds = [(s, a, kind) for kind in KINDS for s in SIZES for a in AT_ONCE]
    cells = []
    for size, at_once, kind in kinds:
        row = {side.name: Cell(side.name, size, at_once, kind) for side in compared}
        usual = PACED_CALLS if kind == "paced" else CALLS
        calls = max(int(usual[at_once] * options.scale), at_once)
        for side in compared:  # connections and code paths warm; not counted
            load.run(side, Cell(side.name, size, at_once, kind), max(calls // 10, at_once))
        for turn in range(options.rounds):
            first = turn % len(compared)
            for side in compared[first:] + compared[:first]:
                load.run(side, row[side.name], calls)
        cells += row.values()
    return cells


def rows_of(cells: list[Cell]) -> list[dict[str, Any]]:
    """The table: each cell beside the direct one of its kind."""
    plain = {(c.size, c.at_once, c.kind): c for c in cells if c.side == "direct"}
    return [
        cell.figures(plain[cell.size, cell.at_once, cell.kind] if cell.side != "direct" else None)
        for cell in cells
    ]


def books(side: sides.Side, provider: sides.Provider, billed_before: int) -> dict[str, Any]:
    """What the provider billed for a side's calls, and what AgentWatch charged for them."""
    billed = provider.billed_nanos() - billed_before
    give_up = time.monotonic() + SETTLED_S
    while (charged := round(side.settled_usd() * 1_000_000_000)) != billed:
        if time.monotonic() > give_up:
            break
        time.sleep(0.05)
    return {"billed_nanos": billed, "charged_nanos": charged, "equal": billed == charged}


def check_books(side: sides.Side, load: Load, provider: sides.Provider) -> dict[str, Any]:
    """A run of AgentWatch alone, before all others, on whose end both books must agree."""
    before = provider.billed_nanos()
    for kind in ("whole", "stream"):
        load.run(side, Cell(side.name, SIZES[0], 16, kind), 160)
    return books(side, provider, before)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people; times in microseconds."""
    heads = ("side", "body", "at once", "kind", "p50", "+p50", "p99", "+p99")
    heads += ("first +p50", "first +p99", "CPU/call", "calls/s")
    lines = ["  ".join(f"{head:>10}" for head in heads)]
    for row in rows:
        size = f"{row['body_bytes'] // 1000} KB"
        cells: list[Any] = [row["side"], size, row["at_once"]]
        cells.append(row["kind"])
        names = ("p50_us", "added_p50_us", "p99_us", "added_p99_us")
        names += ("added_first_p50_us", "added_first_p99_us", "cpu_us_per_call", "calls_per_s")
        cells += ["" if row[name] is None else f"{row[name]:,.0f}" for name in names]
        lines.append("  ".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def options_of(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What a call costs more through AgentWatch.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--sides", default="direct,bare,agentwatch")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--scale", type=float, default=1.0, help="0.1: a tenth of the calls")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Measure and print. 1 where a call failed or the books differ."""
    options = options_of(argv)
    wanted = options.sides.split(",")
    with ExitStack() as stack:
        provider = stack.enter_context(sides.canned())
        load = Load()
        stack.callback(load.close)
        makers = {"bare": sides.bare, "agentwatch": sides.agentwatch}
        compared = [sides.direct(provider)]
        compared += [
            stack.enter_context(makers[name](provider)) for name in wanted if name in makers
        ]
        result: dict[str, Any] = {"schema_version": 1, "machine": machine()}
        result["pinned"] = split_cores(load, provider, compared)
        for side in compared:
            if side.socket_path is not None:
                result["books"] = check_books(side, load, provider)
        result["rows"] = rows_of(measure(load, compared, options))
    failed = sum(row["failed"] for row in result["rows"])
    print(json.dumps(result) if options.json else told(result, failed))
    return 1 if failed or not result.get("books", {"equal": True})["equal"] else 0


def machine() -> str:
    """What it was measured on."""
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def told(result: dict[str, Any], failed: int) -> str:
    """The result for people."""
    pinned = "load and provider on one core, the proxy on another"
    lines = [
        f"{result['machine']}; {pinned if result['pinned'] else 'all on the same cores'}",
        "times in µs; + is what was added to the direct way, at that quantile",
        table(result["rows"]),
    ]
    if "books" in result:
        verdict = "agree" if result["books"]["equal"] else "DIFFER"
        lines.append(f"the provider's bill and AgentWatch's ledger {verdict}: {result['books']}")
    if failed:
        lines.append(f"{failed} calls FAILED")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
