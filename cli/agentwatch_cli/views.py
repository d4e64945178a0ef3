"""How sessions, budgets and alerts are shown: the columns of their listings, the lines of one, the
live view's rows. Pure; `output` makes the cells harmless."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentwatch_cli.output import Column, usd

Session = Mapping[str, Any]

SESSION_COLUMNS = [
    Column("session"),
    Column("state"),
    Column("spent", right=True),
    Column("held", right=True, spare=5),
    Column("ceiling", right=True),
    Column("left", right=True, spare=2),
    Column("calls", right=True, spare=3),
    Column("models", spare=6),
    Column("last call", right=True, spare=4),
]
BUDGET_COLUMNS = [
    Column("budget"),
    Column("month"),
    Column("spent", right=True),
    Column("held", right=True),
    Column("ceiling", right=True),
    Column("left", right=True),
]
TOP_COLUMNS = [
    *SESSION_COLUMNS[:-1],
    Column("$/min", right=True, spare=1),
    Column("full in", right=True, spare=4),
]


def local_time(seconds: object) -> str:
    """A moment of this machine's clock, to the second; "-" where there is none."""
    if not isinstance(seconds, (int, float)):
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


ALERT_COLUMNS = [
    Column("alert"),
    Column("when", right=True),
    Column("session"),
    Column("kind"),
    Column("severity", spare=3),
    Column("done", spare=4),
    Column("state", spare=5),
    Column("message", spare=6),
]

DEAD_COLUMNS = [
    Column("alert"),
    Column("session"),
    Column("kind"),
    Column("channel"),
    Column("tries", right=True),
    Column("why", spare=3),
]
#: what stands in these columns
DEAD_FIELDS = ("id", "session_id", "kind", "channel", "attempts", "why")


def session_row(session: Session, now: float) -> list[object]:
    """One session for SESSION_COLUMNS; `now` in seconds since 1970."""
    return [*_common(session), ago(session.get("last_call_at"), now)]


def _common(session: Session) -> list[object]:
    return [
        session["session_id"],
        session["state"],
        usd(session.get("settled_usd")),
        usd(session.get("held_usd")),
        usd(session.get("budget_usd"), "none"),
        usd(session.get("remaining_usd")),
        f"{session.get('iterations') or 0:,}",
        ", ".join(session.get("models") or ()),
    ]


def budget_row(budget: Mapping[str, Any]) -> list[object]:
    """One budget for BUDGET_COLUMNS."""
    return [
        budget["name"],
        budget.get("month", "-"),
        usd(budget.get("settled_usd")),
        usd(budget.get("held_usd")),
        usd(budget.get("monthly_usd"), "none"),
        usd(budget.get("remaining_usd")),
    ]


def alert_row(alert: Mapping[str, Any], now: float) -> list[object]:
    """One alert for ALERT_COLUMNS."""
    acked = ", acknowledged" if alert.get("acked_at") else ""
    return [
        alert["id"],
        ago(alert["at"], now),
        alert["session_id"],
        alert["kind"],
        alert["severity"],
        alert["action"],
        ("over" if alert.get("ended_at") else "open") + acked,
        alert["message"],
    ]


def alert_line(alert: Mapping[str, Any]) -> str:
    """One alert as a line, with the time of this machine."""
    at = local_time(alert["at"])
    done = "" if alert["action"] == "alert" else f" [{alert['action']}]"
    what = f"{alert['severity']} {alert['kind']}{done}"
    return f"{at} {alert['session_id']} {what}: {alert['message']} ({alert['id']})"


def alerts_by_kind(alerts: Iterable[Mapping[str, Any]]) -> str:
    """How often each kind was told: "cycle, prompt_growth 2"; empty where none was."""
    counted = Counter(alert["kind"] for alert in alerts)
    return ", ".join(kind if n == 1 else f"{kind} {n}" for kind, n in sorted(counted.items()))


def session_lines(session: Session, now: float) -> list[str]:
    """One session as lines "name  value"."""
    facts = [
        ("session", session["session_id"]),
        ("state", f"{session['state']} ({session.get('mode', '-')})"),
        ("charged to", _charged_to(session)),
        ("spent", usd(session.get("settled_usd"))),
        ("held", usd(session.get("held_usd"))),
        ("ceiling", usd(session.get("budget_usd"), "none")),
        ("remaining", usd(session.get("remaining_usd"))),
        ("calls", f"{session.get('iterations') or 0:,}"),
        ("refused", f"{session.get('refusals') or 0:,}"),
        ("tokens", _tokens(session)),
        ("prompts", ", ".join(f"{n:,}" for n in session.get("prompt_tokens_window") or ())),
        ("models", ", ".join(session.get("models") or ())),
        ("opened", ago(session.get("opened_at"), now)),
        ("last call", ago(session.get("last_call_at"), now)),
    ]
    if session.get("overdraft_usd"):
        facts.append(("overdraft", usd(session["overdraft_usd"])))
    if session.get("risks"):
        facts.append(("risks", ", ".join(f"{k} {n}" for k, n in session["risks"].items())))
    if session.get("alerts"):
        facts.append(("alerts", alerts_by_kind(session["alerts"])))
    return [f"{name:<11} {value or '-'}" for name, value in facts]


def _charged_to(session: Session) -> str:
    names = [(kind, session.get(kind)) for kind in ("project", "team")]
    return ", ".join(f"{kind} {name}" for kind, name in names if name)


def _tokens(session: Session) -> str:
    return f"{session.get('input_tokens') or 0:,} in, {session.get('output_tokens') or 0:,} out"


def ago(at: float | None, now: float) -> str:
    """A time as "12 s ago"; "-" where there is none."""
    return "-" if at is None else f"{span(max(0.0, now - at))} ago"


def span(seconds: float) -> str:
    """A duration in its largest whole unit: "59 s", "12 min", "3 h", "8 d"."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def burn_per_minute(earlier: Sequence[tuple[float, float]]) -> float:
    """USD a minute over the samples (time, settled USD), oldest first; 0.0 where unknown."""
    if len(earlier) < 2:
        return 0.0
    (start, spent), (end, now_spent) = earlier[0], earlier[-1]
    return max(0.0, (now_spent - spent) / (end - start) * 60) if end > start else 0.0


def top_row(session: Session, burn_usd_per_min: float) -> list[object]:
    """One session for TOP_COLUMNS."""
    remaining = session.get("remaining_usd")
    full_in = "-"
    if burn_usd_per_min > 0 and remaining is not None:
        full_in = span(max(0.0, remaining) / burn_usd_per_min * 60)
    burn = usd(round(burn_usd_per_min, 6)) if burn_usd_per_min else "-"
    return [*_common(session), burn, full_in]
