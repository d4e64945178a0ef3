"""One frozen Settings, read once: flag > AGENTWATCH_SECTION_KEY > config.toml > default.

Rules for this file: a key exists here only when something obeys it, and a key that is unknown is
an error that names the nearest known one. A limit that is silently ignored is no limit.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from agentwatch.core.alert import ALERT, SEVERITIES
from agentwatch.core.anomaly import Limits
from agentwatch.core.money import parse_usd
from agentwatch.errors import SettingsError, UsageError
from agentwatch.paths import Paths, find_paths
from agentwatch.upstreams import PROVIDERS, PUBLIC_UPSTREAMS, upstream_base

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Timeout = Annotated[float, Meta(ge=0.1, le=3_600)]
Tokens = Annotated[int, Meta(ge=1, le=10_000_000)]
AnomalyAction = Literal["session", "off", "alert", "pause", "kill"]

PREFIX = "AGENTWATCH_"


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class StateSettings(_Section, frozen=True):
    #: None: the SQLite file in the state folder
    url: str | None = None


class LedgerSettings(_Section, frozen=True):
    durability: Literal["power", "process"] = "power"


class EnforcementSettings(_Section, frozen=True):
    hold_wait_s: Seconds = 60.0
    useful_output_tokens: Tokens = 4096
    min_output_tokens: Tokens = 256
    clamp: bool = True
    #: what a call costs whose answer never came: its whole hold, or its input alone
    in_doubt: Literal["hold", "input"] = "hold"
    fail_open: bool = True
    drain_s: Seconds = 2.0


class ProviderSettings(_Section, frozen=True):
    base_url: str | None = None
    passthrough: tuple[str, ...] = ()
    #: the tier that a request with `service_tier: auto` may be billed at
    auto_tier: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$")] | None = None


class PricesSettings(_Section, frozen=True):
    unknown_usd_per_mtok: Decimal | None = None

    @property
    def unknown_nanos_per_mtok(self) -> int | None:
        """The ceiling price of a model that has none, in nano-USD per million tokens."""
        value = self.unknown_usd_per_mtok
        return None if value is None else parse_usd(value, "[prices] unknown_usd_per_mtok")


class AnomaliesSettings(_Section, frozen=True):
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


class RunSettings(_Section, frozen=True):
    kill_grace_s: Seconds = 5.0


class DoorsSettings(_Section, frozen=True):
    max_body_mb: Annotated[int, Meta(ge=1, le=1024)] = 32
    head_timeout_s: Timeout = 10.0
    body_timeout_s: Timeout = 30.0
    write_timeout_s: Timeout = 60.0


class DaemonSettings(_Section, frozen=True):
    stop_grace_s: Seconds = 30.0


class LogSettings(_Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"


class _Values(_Section, frozen=True):
    """The shape of config.toml."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 4141
    state: StateSettings = StateSettings()
    ledger: LedgerSettings = LedgerSettings()
    enforcement: EnforcementSettings = EnforcementSettings()
    providers: dict[str, ProviderSettings] = {}
    prices: PricesSettings = PricesSettings()
    anomalies: AnomaliesSettings = AnomaliesSettings()
    run: RunSettings = RunSettings()
    doors: DoorsSettings = DoorsSettings()
    daemon: DaemonSettings = DaemonSettings()
    log: LogSettings = LogSettings()


class Settings(_Values, frozen=True, kw_only=True):
    """All that one home was told, and where its files are."""

    paths: Paths

    def upstream(self, provider: str) -> str:
        """The base URL that this provider's paths are appended to (see upstreams.py)."""
        told = self.providers.get(provider)
        return upstream_base(provider, (told and told.base_url) or PUBLIC_UPSTREAMS[provider])

    def provider(self, name: str) -> ProviderSettings:
        """What was configured for this provider; the defaults where nothing was."""
        return self.providers.get(name, ProviderSettings())


def load_settings(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> Settings:
    """Read the settings of the home that `environ` (default: this process's) means.

    `flags` are dotted keys that were given on the command line ({"port": 0}); a None among them
    was not given. `read` gives a file's content, or raises OSError. Raises SettingsError with the
    file or variable at fault.
    """
    environ = os.environ if environ is None else environ
    paths = find_paths(environ)
    raw = _read_file(paths.config_file, read)
    _check_keys(raw, str(paths.config_file))
    from_file = _convert(raw, f"{paths.config_file}: ", strict=True)
    merged: dict[str, Any] = msgspec.to_builtins(from_file, builtin_types=(Decimal,))
    for variable, key, text in _variables(environ):
        merged = _with(merged, key, _parse_text(key, text))
        _convert(merged, f"{variable}: ", strict=False)
    for dotted, value in (flags or {}).items():
        if value is not None:
            merged = _with(merged, tuple(dotted.split(".")), value)
    values = _convert(merged, "", strict=False)
    settings = Settings(paths=paths, **{name: getattr(values, name) for name in _fields(_Values)})
    _check_meaning(settings)
    return settings


def _read_file(path: Path, read: Callable[[Path], bytes]) -> dict[str, Any]:
    try:
        return tomllib.loads(read(path).decode())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None


def _convert(raw: Mapping[str, Any], where: str, *, strict: bool) -> _Values:
    try:
        return msgspec.convert(raw, _Values, strict=strict)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        key = path.rstrip("`").lstrip(".")
        raise SettingsError(f"{where}{_shown(key)}: {what}" if key else f"{where}{what}") from None


def _shown(dotted: str) -> str:
    section, _, key = dotted.rpartition(".")
    return f"[{section}] {key}" if section else key


def _fields(section: type[Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(section)}


_SECTIONS: dict[str, type[Struct]] = {
    name: kind
    for name, kind in _fields(_Values).items()
    if isinstance(kind, type) and issubclass(kind, Struct)
}


def _check_keys(raw: Mapping[str, Any], file: str) -> None:
    _known(raw, _fields(_Values), file, "")
    for name, section in _SECTIONS.items():
        if isinstance(raw.get(name), dict):
            _known(raw[name], _fields(section), file, name)
    providers = raw.get("providers")
    if isinstance(providers, dict):
        _known(providers, PROVIDERS, file, "providers")
        for name, table in providers.items():
            if isinstance(table, dict):
                _known(table, _fields(ProviderSettings), file, f"providers.{name}")


def _known(found: Mapping[str, Any], known: Any, file: str, section: str) -> None:
    for key in found:
        if key not in known:
            shown = f"[{section}] {key}" if section else key
            raise SettingsError(f"{file}: unknown key {shown!r}{_nearest(key, known)}")


def _nearest(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _known_variables() -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {"AGENTWATCH_PORT": ("port",)}
    for name, section in _SECTIONS.items():
        for key in _fields(section):
            known[f"{PREFIX}{name}_{key}".upper()] = (name, key)
    for provider in PROVIDERS:
        known[f"{PREFIX}{provider}_upstream".upper()] = ("providers", provider, "base_url")
        for key in _fields(ProviderSettings):
            dotted = ("providers", provider, key)
            known[f"{PREFIX}{'_'.join(dotted)}".upper()] = dotted
    return known


VARIABLES = _known_variables()

#: variables of ours that are no configuration keys
_OTHERS = frozenset(
    PREFIX + name for name in ("HOME", "SOCKET", "API_KEY", "SESSION_ID", "SESSION_TOKEN")
)


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in _OTHERS:
            continue
        if variable in VARIABLES:
            # a variable that is set to nothing is one that is not set, as in a CI's matrix
            if environ[variable]:
                yield variable, VARIABLES[variable], environ[variable]
        else:
            _refuse_mistyped(variable)


def _refuse_mistyped(variable: str) -> None:
    """A variable in one of our sections, or all but one of ours, was meant for us."""
    known = [*VARIABLES, *_OTHERS]
    sections = tuple(f"{PREFIX}{name}_".upper() for name in (*_SECTIONS, "providers"))
    close = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
    if variable.startswith(sections) or close:
        raise SettingsError(f"unknown variable {variable!r}{_nearest(variable, known)}")


def _parse_text(dotted: tuple[str, ...], text: str) -> object:
    if dotted[-1] == "passthrough":
        return [part.strip() for part in text.split(",") if part.strip()]
    return text.strip()


def _with(values: Mapping[str, Any], dotted: tuple[str, ...], value: object) -> dict[str, Any]:
    """A copy of `values` with the key at `dotted` replaced."""
    head, *rest = dotted
    inner = _with(values.get(head) or {}, tuple(rest), value) if rest else value
    return {**values, head: inner}


def _check_meaning(settings: Settings) -> None:
    """What a type can't say."""
    for provider in PROVIDERS:
        settings.upstream(provider)
        for path in settings.provider(provider).passthrough:
            _check_passthrough(provider, path)
    _check_price(settings.prices)
    _check_pace(settings.anomalies)
    _check_state(settings)


def _check_state(settings: Settings) -> None:
    """Only what the state is kept in: another store that is asked for is not to be ignored."""
    if settings.state.url not in (None, "sqlite:", f"sqlite://{settings.paths.ledger}"):
        raise SettingsError(
            "[state] url: this version keeps its state in the SQLite file of the state folder "
            "only; leave the key out"
        )


def _check_passthrough(provider: str, path: str) -> None:
    parts = path.split("/")
    plain = path.startswith("/") and path.isascii() and path.isprintable()
    if not plain or {".", ".."} & set(parts) or any(char in path for char in "%?#\\ *"):
        raise SettingsError(
            f"[providers.{provider}] passthrough: {path!r} is no plain path like '/v1/files'"
        )


def _check_pace(anomalies: AnomaliesSettings) -> None:
    try:
        most = anomalies.limits.nanos_per_hour
    except UsageError as error:
        raise SettingsError(str(error)) from None
    if most == 0:
        raise SettingsError("[anomalies] usd_per_hour must be above zero")


def _check_price(prices: PricesSettings) -> None:
    try:
        nanos = prices.unknown_nanos_per_mtok
    except UsageError as error:
        raise SettingsError(str(error)) from None
    value = prices.unknown_usd_per_mtok
    if value is not None and (not nanos or not math.isfinite(value)):
        raise SettingsError("[prices] unknown_usd_per_mtok must be above zero")
