"""One frozen Settings, read once: flag > AGENTWATCH_SECTION_KEY > config.toml > default.

A key that is unknown is an error that names the nearest known one. The keys are in sections.py.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from agentwatch.core.telemetry_settings import RisksSettings
from agentwatch.errors import SettingsError, UsageError
from agentwatch.paths import Paths, find_paths
from agentwatch.sections import (
    AlertsSettings,
    AnomaliesSettings,
    PricesSettings,
    ProviderSettings,
    Values,
)
from agentwatch.upstreams import PROVIDERS, PUBLIC_UPSTREAMS, WIRE_UPSTREAMS, upstream_base
from agentwatch.webhooks import check_url, secret_bytes

PREFIX = "AGENTWATCH_"


class Settings(Values, frozen=True, kw_only=True):
    """All that one home was told, and where its files are."""

    paths: Paths

    @property
    def own_wires(self) -> dict[str, str]:
        """The providers that the configuration alone defines, and what each speaks."""
        own = self.providers.items()
        return {name: told.wire for name, told in own if told.wire and name not in PROVIDERS}

    @property
    def own_providers(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.own_wires)

    @property
    def provider_names(self) -> tuple[str, ...]:
        """All providers: those that are known, and the user's own."""
        return (*PROVIDERS, *self.own_providers)

    def upstream(self, provider: str) -> str:
        """The base URL that this provider's paths are appended to (see upstreams.py)."""
        told = self.provider(provider)
        public = PUBLIC_UPSTREAMS.get(provider) or WIRE_UPSTREAMS.get(told.wire or "", "")
        return upstream_base(provider, told.base_url or public)

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
    settings = Settings(paths=paths, **{name: getattr(values, name) for name in _fields(Values)})
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


def _convert(raw: Mapping[str, Any], where: str, *, strict: bool, provider: str = "…") -> Values:
    """`provider` is the one that `raw` is about: the library does not say which."""
    try:
        return msgspec.convert(raw, Values, strict=strict)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        key = path.rstrip("`").lstrip(".").replace("providers[...]", f"providers.{provider}")
        told = f"{_shown(key)}: {what}{_choices(key)}" if key else what
        raise SettingsError(f"{where}{told}") from None


def _choices(dotted: str) -> str:
    """What the key at `dotted` may be, where that is one of a few words."""
    section, _, key = dotted.rpartition(".")
    kind = ProviderSettings if section.startswith("providers.") else _SECTIONS.get(section, Values)
    of = _fields(kind).get(key)
    literals = [each for each in (of, *get_args(of)) if get_origin(each) is Literal]
    words = [str(word) for each in literals for word in get_args(each)]
    return f"; one of {', '.join(words)}" if words else ""


def _shown(dotted: str) -> str:
    section, _, key = dotted.rpartition(".")
    return f"[{section}] {key}" if section else key


def _fields(section: type[Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(section)}


_SECTIONS: dict[str, type[Struct]] = {
    name: kind
    for name, kind in _fields(Values).items()
    if isinstance(kind, type) and issubclass(kind, Struct)
}


def _check_keys(raw: Mapping[str, Any], file: str) -> None:
    _known(raw, _fields(Values), file, "")
    for name, section in _SECTIONS.items():
        if isinstance(raw.get(name), dict):
            _known(raw[name], _fields(section), file, name)
    providers = raw.get("providers")
    if isinstance(providers, dict):
        for name, table in providers.items():
            if name not in PROVIDERS and not _defines_one(table):
                raise SettingsError(
                    f"{file}: unknown key '[providers] {name}'{_nearest(name, PROVIDERS)}; one of "
                    'your own needs wire = "openai"'
                )
        for name, table in providers.items():
            if isinstance(table, dict):
                _known(table, _fields(ProviderSettings), file, f"providers.{name}")
                _convert({"providers": {name: table}}, f"{file}: ", strict=True, provider=name)


def _defines_one(table: object) -> bool:
    """Whether a table of `providers` is a provider of the user's own."""
    return isinstance(table, dict) and "wire" in table


def _known(found: Mapping[str, Any], known: Any, file: str, section: str) -> None:
    for key in found:
        if key not in known:
            shown = f"[{section}] {key}" if section else key
            raise SettingsError(f"{file}: unknown key {shown!r}{_nearest(key, known)}")


def _nearest(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


#: keys of a provider that the file alone defines: no variable can
_OF_OWN_PROVIDERS = frozenset(["wire", "needs_key"])


def _known_variables() -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {"AGENTWATCH_PORT": ("port",)}
    for name, section in _SECTIONS.items():
        for key in _fields(section):
            known[f"{PREFIX}{name}_{key}".upper()] = (name, key)
    for provider in PROVIDERS:
        known[f"{PREFIX}{provider}_upstream".upper()] = ("providers", provider, "base_url")
        for key in _fields(ProviderSettings).keys() - _OF_OWN_PROVIDERS:
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
    if dotted[-1] in ("passthrough", "notify", "allow"):
        return [part.strip() for part in text.split(",") if part.strip()]
    if text.lstrip().startswith("{"):
        return _parse_table(text)
    return text.strip()


def _parse_table(text: str) -> object:
    """A table in a variable is written as in the file: {PII_IP = "off"}."""
    try:
        return tomllib.loads(f"table = {text.strip()}")["table"]
    except tomllib.TOMLDecodeError:
        return text


def _with(values: Mapping[str, Any], dotted: tuple[str, ...], value: object) -> dict[str, Any]:
    """A copy of `values` with the key at `dotted` replaced."""
    head, *rest = dotted
    inner = _with(values.get(head) or {}, tuple(rest), value) if rest else value
    return {**values, head: inner}


def _check_meaning(settings: Settings) -> None:
    """What a type can't say."""
    for provider in settings.provider_names:
        _check_wire(settings, provider)
        settings.upstream(provider)
        for path in settings.provider(provider).passthrough:
            _check_passthrough(provider, path)
    _check_price(settings.prices)
    _check_pace(settings.anomalies)
    _check_webhook(settings.alerts)
    _check_risks(settings.risks)
    _check_state(settings)


#: what stands before the providers' paths, or could be taken for something else there
_TAKEN_NAMES = frozenset(["agentwatch", "metrics", "s", "v1"])
_OWN_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def _check_wire(settings: Settings, name: str) -> None:
    told, own = settings.provider(name), name not in PROVIDERS
    where = f"[providers.{name[:40]}]"
    if not own and (told.wire is not None or not told.needs_key):
        raise SettingsError(f"{where}: wire and needs_key are for providers of your own")
    if not own:
        return
    if not _OWN_NAME.fullmatch(name) or name in _TAKEN_NAMES:
        raise SettingsError(
            f"{where}: a provider's name is small letters, digits and '-', as it stands in paths"
        )
    if told.base_url is None and told.wire not in WIRE_UPSTREAMS:
        raise SettingsError(f"{where} base_url is missing: where {name} is reached")


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


def _check_webhook(alerts: AlertsSettings) -> None:
    if alerts.webhook_url:
        check_url(alerts.webhook_url, alerts.webhook_allow_private)
    if alerts.webhook_secret:
        secret_bytes(alerts.webhook_secret)


def _check_pace(anomalies: AnomaliesSettings) -> None:
    try:
        most = anomalies.limits.nanos_per_hour
    except UsageError as error:
        raise SettingsError(str(error)) from None
    if most == 0:
        raise SettingsError("[anomalies] usd_per_hour must be above zero")


def _check_risks(risks: RisksSettings) -> None:
    if risks == RisksSettings():
        return  # nothing to check
    try:
        risks.policy()
    except UsageError as error:
        raise SettingsError(str(error)) from None


def _check_price(prices: PricesSettings) -> None:
    try:
        nanos = prices.unknown_nanos_per_mtok
    except UsageError as error:
        raise SettingsError(str(error)) from None
    value = prices.unknown_usd_per_mtok
    if value is not None and (not nanos or not math.isfinite(value)):
        raise SettingsError("[prices] unknown_usd_per_mtok must be above zero")
