"""The configuration's keys: their tables, types and defaults.

Rules for this file: a key exists here only when something obeys it. A limit that is silently
ignored is no limit.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from agentwatch.core.alert import ALERT, SEVERITIES
from agentwatch.core.anomaly import Limits
from agentwatch.core.money import parse_usd
from agentwatch.core.telemetry_settings import RisksSettings, TelemetrySettings

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Timeout = Annotated[float, Meta(ge=0.1, le=3_600)]
Tokens = Annotated[int, Meta(ge=1, le=10_000_000)]
AnomalyAction = Literal["session", "off", "alert", "pause", "kill"]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of config.toml."""


class StateSettings(Section, frozen=True):
    #: None: the SQLite file in the state folder
    url: str | None = None


class LedgerSettings(Section, frozen=True):
    durability: Literal["power", "process"] = "power"


class EnforcementSettings(Section, frozen=True):
    hold_wait_s: Seconds = 60.0
    useful_output_tokens: Tokens = 4096
    min_output_tokens: Tokens = 256
    clamp: bool = True
    #: what a call costs whose answer never came: its whole hold, or its input alone
    in_doubt: Literal["hold", "input"] = "hold"
    fail_open: bool = True
    drain_s: Seconds = 2.0


class ProviderSettings(Section, frozen=True):
    base_url: str | None = None
    passthrough: tuple[str, ...] = ()
    #: what a provider of the user's own speaks; None: it is one that is known
    wire: Literal["openai", "mistral"] | None = None
    #: False: it asks for no key (a server on this machine)
    needs_key: bool = True
    #: the tier that a request with `service_tier: auto` may be billed at
    auto_tier: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$")] | None = None


class PricesSettings(Section, frozen=True):
    unknown_usd_per_mtok: Decimal | None = None

    @property
    def unknown_nanos_per_mtok(self) -> int | None:
        """The ceiling price of a model that has none, in nano-USD per million tokens."""
        value = self.unknown_usd_per_mtok
        return None if value is None else parse_usd(value, "[prices] unknown_usd_per_mtok")


class AnomaliesSettings(Section, frozen=True):
    """Actions by kind ("session": what `run --on-anomaly` says), and how much is too much."""

    #: below this severity an alert is all that is done
    act_from: Literal["info", "warning"] = "warning"
    prompt_growth: AnomalyAction = "session"
    repeated_request: AnomalyAction = "session"
    repeated_tool_call: AnomalyAction = "session"
    cycle: AnomalyAction = "session"
    stale_answers: AnomalyAction = "session"
    same_error: AnomalyAction = "session"
    failing_calls: AnomalyAction = "session"
    burn_rate: AnomalyAction = "session"
    burst: AnomalyAction = "session"
    fan_out: AnomalyAction = "session"
    repeats: Annotated[int, Meta(ge=3, le=16)] = 5
    cycle_rounds: Annotated[int, Meta(ge=2, le=4)] = 3
    stale_steps: Annotated[int, Meta(ge=3, le=1_000)] = 8
    failures: Annotated[int, Meta(ge=2, le=1_000)] = 6
    burst_calls: Annotated[int, Meta(ge=2, le=100_000)] = 20
    burst_factor: Annotated[float, Meta(ge=2, le=1_000)] = 8.0
    fan_out_calls: Annotated[int, Meta(ge=2, le=100_000)] = 20
    ceiling_within_s: Seconds = 120.0
    usd_per_hour: Decimal | None = None

    @property
    def limits(self) -> Limits:
        """The figures as the detectors take them."""
        most = self.usd_per_hour
        return Limits(
            **{name: getattr(self, name) for name in _FIGURES},
            nanos_per_hour=None if most is None else parse_usd(most, "[anomalies] usd_per_hour"),
        )

    def action(self, kind: str, severity: str, of_session: str) -> str | None:
        """What is done about this: alert, pause or kill; None: nothing at all."""
        told: str = getattr(self, kind)
        if told == "off":
            return None
        if SEVERITIES.index(severity) < SEVERITIES.index(self.act_from):
            return ALERT
        return of_session if told == "session" else told


_FIGURES = tuple(name for name in Limits.__struct_fields__ if name != "nanos_per_hour")


class AlertsSettings(Section, frozen=True):
    #: None: alerts are kept and shown, and go nowhere
    webhook_url: str | None = None
    webhook_secret: str | None = None
    #: receivers on this machine or network, and plain http to them
    webhook_allow_private: bool = False
    #: addresses as apprise takes them: Slack, PagerDuty, Teams, mail …
    notify: tuple[str, ...] = ()


class RunSettings(Section, frozen=True):
    kill_grace_s: Seconds = 5.0


class DoorsSettings(Section, frozen=True):
    max_body_mb: Annotated[int, Meta(ge=1, le=1024)] = 32
    head_timeout_s: Timeout = 10.0
    body_timeout_s: Timeout = 30.0
    write_timeout_s: Timeout = 60.0


class DaemonSettings(Section, frozen=True):
    stop_grace_s: Seconds = 30.0


class LogSettings(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"


class Values(Section, frozen=True):
    """The shape of config.toml."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 4141
    state: StateSettings = StateSettings()
    ledger: LedgerSettings = LedgerSettings()
    enforcement: EnforcementSettings = EnforcementSettings()
    providers: dict[str, ProviderSettings] = {}
    prices: PricesSettings = PricesSettings()
    anomalies: AnomaliesSettings = AnomaliesSettings()
    alerts: AlertsSettings = AlertsSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    risks: RisksSettings = RisksSettings()
    run: RunSettings = RunSettings()
    doors: DoorsSettings = DoorsSettings()
    daemon: DaemonSettings = DaemonSettings()
    log: LogSettings = LogSettings()
