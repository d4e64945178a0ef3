"""What a caller asked for, under the names that `aw-sdk` gave it."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agentwatch.core.ids import ID_RULE, NAME, RULE, SESSION_ID
from agentwatch.errors import UsageError

#: where a daemon takes the records of calls that were made elsewhere, unless it was told otherwise
INGEST_URL = "http://127.0.0.1:4141/v1/ingest"
#: a daemon that says nothing for so long is taken for one that hangs
TIMEOUT_S = 2.0
#: the project whose month is bounded where a monthly budget is given without a name for it
DEFAULT_PROJECT = "default"
#: what the settings read as false
_NO = ("false", "0")


class Terms(NamedTuple):
    """A session as it is wanted. Money is USD; None: not said."""

    session_id: str | None = None
    budget_usd: float | None = None
    monthly_usd: float | None = None
    mode: str | None = None
    project: str | None = None
    team: str | None = None
    fail_open: bool = True
    api_key: str | None = None
    #: "http://127.0.0.1:4141": a daemon that is reached on its port; None: by its socket
    origin: str | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def body(self) -> dict[str, Any]:
        """What the daemon is asked when the session is opened."""
        named = {
            "budget_usd": self.budget_usd,
            "monthly_usd": self.monthly_usd,
            "mode": self.mode,
            "project": self.project,
            "team": self.team,
            "fail_open": None if self.fail_open else False,
        }
        return {name: value for name, value in named.items() if value is not None}


def terms_of(
    *,
    agentwatch_api_key: str | None = None,
    agentwatch_project: str | None = None,
    agentwatch_team: str | None = None,
    agentwatch_session_id: str | None = None,
    agentwatch_session_budget_usd: float | None = None,
    agentwatch_monthly_budget_usd: float | None = None,
    agentwatch_enforcement_mode: bool | None = None,
    agentwatch_enforcement_fail_open: bool = True,
    ingest_url: str | None = None,
    timeout_seconds: float = TIMEOUT_S,
) -> Terms:
    """The terms that these arguments mean. Raises UsageError for what can't be meant."""
    project = agentwatch_project
    if agentwatch_monthly_budget_usd is not None and not (project or agentwatch_team):
        project = DEFAULT_PROJECT
    return Terms(
        session_id=_name(agentwatch_session_id, "agentwatch_session_id"),
        budget_usd=_usd(agentwatch_session_budget_usd, "agentwatch_session_budget_usd"),
        monthly_usd=_usd(agentwatch_monthly_budget_usd, "agentwatch_monthly_budget_usd"),
        mode="observe" if agentwatch_enforcement_mode is False else None,
        project=_name(project, "agentwatch_project"),
        team=_name(agentwatch_team, "agentwatch_team"),
        fail_open=_flag(agentwatch_enforcement_fail_open),
        api_key=_key(agentwatch_api_key),
        origin=_origin(ingest_url),
        timeout_s=_seconds(timeout_seconds),
    )


def new_session_id() -> str:
    """An id for a session that the caller gave none."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"sdk-{stamp}-{secrets.token_hex(4)}"


def outer_session(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Id and token of the session that this process was started in; None: in none."""
    found = environ.get("AGENTWATCH_SESSION_ID"), environ.get("AGENTWATCH_SESSION_TOKEN")
    return (found[0], found[1]) if found[0] and found[1] else None


def fails_closed(environ: Mapping[str, str]) -> bool:
    """Whether this environment lets no call go ungoverned, as in `agentwatch run --fail-closed`."""
    return environ.get("AGENTWATCH_ENFORCEMENT_FAIL_OPEN", "").strip().lower() in _NO


def _name(value: str | None, argument: str) -> str | None:
    """Ids and names go into headers and paths: what can't be one is refused before a call is."""
    if not value:
        return None
    form, rule = (SESSION_ID, ID_RULE) if argument.endswith("session_id") else (NAME, RULE)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise UsageError(f"{argument} is {rule}")
    return value


def _usd(value: object, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool):
        raise UsageError(f"{name} must be an amount in USD, like 2.00")
    try:
        amount = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be an amount in USD, like 2.00") from None
    if not math.isfinite(amount) or amount < 0:
        raise UsageError(f"{name} must be zero or more, like 2.00")
    return amount


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError("agentwatch_enforcement_fail_open is True or False")
    return value


def _seconds(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 86_400:
        raise UsageError("timeout_seconds must be a number of seconds above zero")
    return float(value)


def _key(value: str | None) -> str | None:
    if value and not (value.isascii() and value.isprintable()):
        raise UsageError("agentwatch_api_key is an AgentWatch key (awk_…): plain characters")
    return value or None


def _origin(ingest_url: str | None) -> str | None:
    """The daemon's origin, where an address of its own was given."""
    if ingest_url is None or ingest_url == INGEST_URL:
        return None
    parts = urlsplit(ingest_url)
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError("ingest_url is a daemon's, like http://127.0.0.1:4141/v1/ingest")
    return f"http://{parts.hostname}:{parts.port or 80}"
