"""`agentwatch alerts`: what looked wrong, as it happens and afterwards."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from agentwatch.errors import AgentWatchError, UsageError
from agentwatch_cli.output import emit_json, emit_rows, note, say

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Session = Annotated[
    str | None, typer.Option("--session", metavar="ID", help="Of this session only.")
]
Alert = Mapping[str, Any]

#: pauses between tries to reach a daemon that went away, in seconds
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="What looked wrong: loops, growth, pace."
    )
    commands: dict[str, Callable[..., None]] = {
        "ls": list_alerts,
        "tail": tail,
        "ack": ack,
        "test": send_test,
    }
    for name, command in commands.items():
        group.command(name)(command)
    app.add_typer(group, name="alerts")


def _control() -> Any:
    from agentwatch_cli.client import Control
    from agentwatch_cli.launch import settings_anyway

    return Control(settings_anyway())


def _alerts(control: Any, limit: int, session: str | None, unacked: bool = False) -> list[Alert]:
    from agentwatch_cli.client import checked_session_id

    asked: dict[str, object] = {"limit": limit}
    if session is not None:
        asked["session_id"] = checked_session_id(session)
    if unacked:
        asked["unacked"] = 1
    found: list[Alert] = control.request("GET", f"/v1/alerts?{urlencode(asked)}")["alerts"]
    return found


def list_alerts(
    session: Session = None,
    unacked: Annotated[
        bool, typer.Option("--unacked", help="Only what nobody has acknowledged.")
    ] = False,
    number: Annotated[
        int, typer.Option("-n", "--number", min=1, max=10_000, help="The last so many.")
    ] = 100,
    dead: Annotated[
        bool, typer.Option("--dead", help="Those that could not be delivered, and why.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the last alerts, the newest last."""
    from agentwatch_cli.views import ALERT_COLUMNS, alert_row

    if dead:
        _list_dead(as_json)
        return
    alerts = _alerts(_control(), number, session, unacked)
    if as_json:
        emit_json({"alerts": alerts})
        return
    now = time.time()
    empty = "no alert: nothing looked wrong" + (" that was not acknowledged" if unacked else "")
    emit_rows(ALERT_COLUMNS, (alert_row(alert, now) for alert in alerts), empty=empty)


def _list_dead(as_json: bool) -> None:
    from agentwatch_cli.views import DEAD_COLUMNS, DEAD_FIELDS

    alerts: list[Alert] = _control().request("GET", "/v1/alerts/dead")["alerts"]
    if as_json:
        emit_json({"alerts": alerts})
        return
    rows = ([each[name] for name in DEAD_FIELDS] for each in alerts)
    empty = "every alert that was to be delivered was, or still will be"
    emit_rows(DEAD_COLUMNS, rows, empty=empty)


def send_test(as_json: Json = False) -> None:
    """Send a test through every channel: the webhook, and what `[alerts] notify` names."""
    channels = _control().request("POST", "/v1/alerts/test")["channels"]
    if as_json:
        emit_json({"channels": channels})
    for each in channels if not as_json else ():
        say(f"{each['channel']}: " + ("delivered" if each["delivered"] else each["why"]))
    if not channels:
        raise AgentWatchError(
            "no channel is configured: set [alerts] webhook_url in config.toml (or "
            "AGENTWATCH_ALERTS_WEBHOOK_URL), then agentwatch restart"
        )
    if not all(each["delivered"] for each in channels):
        raise typer.Exit(1)


def tail(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as they come.")] = False,
    session: Session = None,
    number: Annotated[
        int, typer.Option("-n", "--number", min=0, max=10_000, help="The last so many first.")
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
) -> None:
    """Show the last alerts as lines, and with -f those that come."""
    control = _control()
    show = _show_json if as_json else _show_line
    if not follow:
        for alert in _alerts(control, number, session) if number else ():
            show(alert)
        return
    seen: set[str] = set()
    for alert in _followed(control, number, session):
        if alert["id"] not in seen:
            seen.add(alert["id"])
            show(alert)


def _followed(control: Any, number: int, session: str | None) -> Iterator[Alert]:
    """The last alerts and those that come, over the daemon's restarts; some of them twice."""
    asked = {"follow": "1"} | ({} if session is None else {"session_id": session})
    # the first time there must be a daemon
    backlog, pause_s = _alerts(control, max(1, number), session), _FIRST_PAUSE_S
    yield from backlog if number else []
    while True:
        try:
            with control.events(f"/v1/alerts?{urlencode(asked)}") as events:
                # asked for once the stream stands: nothing can fall between the two
                yield from _missed(control, session, backlog)
                pause_s = _FIRST_PAUSE_S
                for alert in events:
                    backlog = [alert]
                    yield alert
        except UsageError:
            raise
        except AgentWatchError:
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        time.sleep(pause_s)


def _missed(control: Any, session: str | None, shown: list[Alert]) -> list[Alert]:
    """What came after the last that was shown."""
    since = shown[-1]["at"] if shown else time.time()
    return [alert for alert in _alerts(control, 1_000, session) if alert["at"] >= since]


def _show_json(alert: Alert) -> None:
    sys.stdout.write(json.dumps(alert, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def _show_line(alert: Alert) -> None:
    from agentwatch_cli.views import alert_line

    say(alert_line(alert))
    sys.stdout.flush()


def ack(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
) -> None:
    """Acknowledge alerts: `ls --unacked` shows them no more."""
    if everything == bool(ids):
        raise UsageError("say which: agentwatch alerts ack ID…, or --all")
    body = {"all": True} if everything else {"ids": ids}
    new = _control().request("POST", "/v1/alerts/ack", body)["acknowledged"]
    note(f"{len(new)} acknowledged" if new else "nothing to acknowledge: it was done before")
