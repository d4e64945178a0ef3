"""`agentwatch budgets`: the monthly ceilings above the sessions, of projects and teams."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from agentwatch.errors import UsageError
from agentwatch_cli.output import emit_json, emit_rows, say, usd


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="Budgets of projects and teams."
    )
    group.command("ls")(list_budgets)
    group.command("set")(set_budget)
    app.add_typer(group, name="budgets")


def _control() -> Any:
    from agentwatch.settings import load_settings
    from agentwatch_cli.client import Control

    return Control(load_settings())


def list_budgets(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the budgets and what this month has cost."""
    from agentwatch_cli.views import BUDGET_COLUMNS, budget_row

    budgets = _control().request("GET", "/v1/budgets")["budgets"]
    if as_json:
        emit_json({"budgets": budgets})
        return
    empty = "no budget yet: set one with `agentwatch budgets set project:NAME --monthly USD`"
    emit_rows(BUDGET_COLUMNS, map(budget_row, budgets), empty=empty)


def set_budget(
    name: Annotated[str, typer.Argument(metavar="project:NAME|team:NAME", show_default=False)],
    monthly: Annotated[str, typer.Option(metavar="USD", help="The ceiling of each month.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Set the monthly ceiling of a project or a team."""
    from agentwatch.core.ids import NAME, RULE
    from agentwatch.core.money import parse_usd, to_usd

    kind, _, rest = name.partition(":")
    if kind not in ("project", "team") or NAME.fullmatch(rest) is None:
        raise UsageError(f"a budget is named project:NAME or team:NAME, and NAME is {RULE}")
    ceiling = to_usd(parse_usd(monthly, "--monthly"))
    path = "/v1/budgets/" + quote(name, safe=":")
    answer = _control().request("PUT", path, {"monthly_usd": ceiling})
    if as_json:
        emit_json(answer)
    else:
        say(f"{name}: {usd(ceiling)} a month")
