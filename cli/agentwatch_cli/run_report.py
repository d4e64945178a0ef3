"""What a run did and cost: the report's figures, and the closing line. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentwatch_cli.output import harmless, usd

_COUNTS = ("calls", "input_tokens", "output_tokens", "cost_usd")


def build_report(
    after: Mapping[str, Any], before: Mapping[str, Any] | None = None, exit_code: int | None = None
) -> dict[str, Any]:
    """The report of the contract: the session, and what was added since `before` (None: all).

    `calls`, `refusals`, `fail_open`, `by_model` and `total_cost_usd` are the run's own; the
    session's fields are the session's, which may have been used before and by others.
    """
    start = before or {}
    report = {name: value for name, value in after.items() if name not in _NOT_REPORTED}
    report["exit_code"] = exit_code
    report["calls"] = _grown(after, start, "iterations")
    report["refusals"] = _grown(after, start, "refusals")
    report["fail_open"] = _grown_by_name(after.get("fail_open"), start.get("fail_open"))
    report["by_model"] = _by_model(after.get("by_model") or {}, start.get("by_model") or {})
    report["alerts"] = _new_alerts(after, start)
    report["total_cost_usd"] = _money(_grown(after, start, "settled_usd"))
    report["run_input_tokens"] = _grown(after, start, "input_tokens")
    report["run_output_tokens"] = _grown(after, start, "output_tokens")
    return report


def _new_alerts(after: Mapping[str, Any], start: Mapping[str, Any]) -> list[Any]:
    known = {alert["id"] for alert in start.get("alerts") or ()}
    return [alert for alert in after.get("alerts") or () if alert["id"] not in known]


_NOT_REPORTED = frozenset({"token", "schema_version"})


def _grown(after: Mapping[str, Any], before: Mapping[str, Any], name: str) -> Any:
    return max(0, (after.get(name) or 0) - (before.get(name) or 0))


def _money(amount: float) -> float:
    """A difference of two amounts, without the noise that floats put under the nano-USD."""
    return round(amount, 9)


def _grown_by_name(after: Any, before: Any) -> Any:
    """Counts by cause, or one count: the daemon's word for passes that were not governed."""
    if isinstance(after, Mapping):
        start = before if isinstance(before, Mapping) else {}
        return {name: _grown(after, start, name) for name in after}
    return max(0, (after or 0) - (before or 0)) if isinstance(before, (int, float)) else after or 0


def _by_model(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows = {}
    for model, counts in after.items():
        row = {name: _grown(counts, before.get(model) or {}, name) for name in _COUNTS}
        row["cost_usd"] = _money(row["cost_usd"])
        if any(row.values()):
            rows[model] = row
    return rows


def closing_line(report: Mapping[str, Any]) -> str:
    """What was spent, in one line."""
    parts = [
        _spent(report),
        _plural(report["calls"], "call"),
        f"{report['run_input_tokens']:,} tokens in, {report['run_output_tokens']:,} out",
    ]
    if report.get("mode", "enforce") != "enforce":
        parts.insert(1, f"mode {report['mode']}")
    if report["by_model"]:
        parts.append(", ".join(report["by_model"]))
    if report["refusals"]:
        parts.append(f"{report['refusals']:,} refused")
    if report.get("alerts"):
        kinds = ", ".join(sorted({alert["kind"] for alert in report["alerts"]}))
        parts.append(f"{_plural(len(report['alerts']), 'alert')} ({kinds})")
    if report.get("longest_call_s"):
        parts.append(f"longest call {_duration(report['longest_call_s'])}")
    if passes(report):
        parts.append(f"{passes(report):,} not fully governed (fail-open)")
    parts.append(f"session {report['session_id']}")
    return harmless(" · ".join(parts))


def stopped_for(report: Mapping[str, Any]) -> list[str]:
    """Why the daemon paused or killed the session, or a part of it, a line for each time."""
    done = {"pause": "paused", "kill": "killed"}
    return [
        f"{_whose(alert, report)} was {done[alert['action']]} for {alert['kind']}: "
        f"{alert['message']}"
        for alert in report.get("alerts") or ()
        if alert["action"] in done
    ]


def to_go_on(report: Mapping[str, Any], *, exceeded: bool, closed: bool) -> str | None:
    """What works after a run that was refused money (`exceeded`) or was paused, where the refusals'
    own advice does not: `closed`, its session ended with it. None where it was neither."""
    name, paused = report["session_id"], report["state"] == "paused"
    if not paused and not (exceeded and report["refusals"]):
        return None
    if not paused and report.get("budget_usd") is None:
        return "to go on: raise the budget that refused it (`agentwatch budgets ls` shows which)"
    verb = "resume" if paused else "budget"
    if closed:
        higher = "" if paused else " with a higher --budget"
        return (
            f"its session is closed. To go on: run it again{higher}; under `--session NAME` it "
            f"stays open, and `agentwatch sessions {verb}` works"
        )
    ceiling = "" if paused else " USD"
    return (
        f"to go on: `agentwatch sessions {verb} {name}{ceiling}`, then run it again with "
        f"--session {name}"
    )


def _whose(alert: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    part = alert.get("session_id")
    return "the session" if part in (None, report.get("session_id")) else f"its part {part}"


def _spent(report: Mapping[str, Any]) -> str:
    cost, settled = report["total_cost_usd"], report.get("settled_usd") or 0
    ceiling = usd(report.get("budget_usd"), "")
    if _money(settled - cost) > 0:
        of = f" of {ceiling}" if ceiling else ""
        return f"spent {usd(cost)} now, {usd(settled)}{of} in all"
    return f"spent {usd(cost)} of {ceiling}" if ceiling else f"spent {usd(cost)}, no ceiling"


def passes(report: Mapping[str, Any]) -> int:
    """How many calls governance did not fully cover."""
    counted = report.get("fail_open") or 0
    return sum(counted.values()) if isinstance(counted, Mapping) else int(counted)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def nothing_governed(report: Mapping[str, Any]) -> str | None:
    """The plain warning where no call was seen at all; None where one was, or was refused."""
    if report["calls"] or report["refusals"] or passes(report):
        return None
    return (
        "no call was seen: nothing was governed. If it did call a model, it does not read its "
        "base URL from the variables that are set here (OPENAI_BASE_URL, ANTHROPIC_BASE_URL, …), "
        "or has a key of its own in a file: point its base URL at $OPENAI_BASE_URL"
    )


def ci_line(text: str) -> str:
    """`text` so that no CI system takes a part of it for one of its commands (`::error::`,
    `##vso[`): names of models come from outside."""
    apart = re.sub(r"::+", lambda found: " ".join(found.group()), text)
    return re.sub(r"##(?=\[|vso\[)", "# #", apart)
