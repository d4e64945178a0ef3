"""What the wrapped command finds in its environment: base URLs, the session's token as every
provider's key, and none of the real keys. Pure, but for the settings file of the Gemini CLI."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentwatch.keyfile import OWN_PREFIXES
from agentwatch.upstreams import variable_prefix

#: variables with a provider's key, or that lead round the proxy: never passed on
TAKEN_OUT = frozenset(
    {
        "OPENAI_API_KEY",
        "OPENAI_ADMIN_KEY",
        "CODEX_API_KEY",
        "CODEX_ACCESS_TOKEN",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_ADMIN_KEY",
        "ANTHROPIC_ADMIN_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "GROQ_API_KEY",
        "XAI_API_KEY",
        "XAI_MANAGEMENT_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GENAI_API_KEY",
        "GOOGLE_GENERATIVE_AI_API_KEY",
    }
)
#: where a provider's key usually stands
_KEY_VARIABLES = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
#: no keys, but a way round: a socket that takes the place of the base URL, systemd's secrets,
#: switches that lead Claude Code to another cloud
WAYS_ROUND = frozenset(
    {
        "ANTHROPIC_UNIX_SOCKET",
        "CREDENTIALS_DIRECTORY",
        "CLAUDE_CODE_USE_ANTHROPIC_AWS",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_USE_GATEWAY",
        "CLAUDE_CODE_USE_MANTLE",
        "CLAUDE_CODE_USE_VERTEX",
    }
)

#: values that can only be a key of a governed provider, whatever the variable is called
_KEY_SHAPE = re.compile(
    r"sk-(?:proj|svcacct|admin|ant)-[A-Za-z0-9_-]{20,}"
    r"|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}|awk_[A-Za-z0-9_-]{32,}"
)
#: shorter values are words ("test", "none"), and no key to look for elsewhere
_SHORTEST_KEY = 12

#: variables of ours that a wrapped command may keep: which home is meant
_KEPT_OF_OURS = frozenset({"AGENTWATCH_HOME"})

_LOCAL_HOSTS = ("127.0.0.1", "localhost")
#: below the folder of our own settings for the Gemini CLI
_GEMINI_HOME = "gemini-home"
CODEX_SETTING = "openai_base_url"
#: with most models Codex offers a hosted search, which is billed by the call and has no most
_CODEX_SEARCH = "web_search"


class Access(NamedTuple):
    """How a program reaches the daemon for one session."""

    session_id: str
    token: str
    #: "http://127.0.0.1:4141"
    origin: str
    socket: str
    #: AGENTWATCH_HOME, where the daemon has one
    home: str | None = None
    #: providers that only the configuration defines
    own: tuple[str, ...] = ()
    #: with the daemon away no call may go, which is the SDK's to see to
    fails_closed: bool = False


class ChildEnvironment(NamedTuple):
    """The variables, and the unusual ones that were taken out because they held a key."""

    variables: dict[str, str]
    also_taken_out: list[str]


def session_variables(access: Access) -> dict[str, str]:
    """The variables that put a program under the session, without the proxies' exceptions."""
    origin = access.origin
    variables = {
        "OPENAI_BASE_URL": f"{origin}/openai/v1",
        "OPENAI_API_BASE": f"{origin}/openai/v1",
        "ANTHROPIC_BASE_URL": f"{origin}/anthropic",
        "ANTHROPIC_API_BASE": f"{origin}/anthropic",
        "GROQ_BASE_URL": f"{origin}/groq",
        "GROQ_API_BASE": f"{origin}/groq/openai/v1",
        "XAI_API_BASE": f"{origin}/xai/v1",
        "GOOGLE_GEMINI_BASE_URL": f"{origin}/gemini",
        "GEMINI_API_BASE": f"{origin}/gemini",
        "AGENTWATCH_SESSION_ID": access.session_id,
        "AGENTWATCH_SESSION_TOKEN": access.token,
        "AGENTWATCH_SOCKET": access.socket,
    }
    for provider in ("OPENAI", "ANTHROPIC", "GROQ", "XAI", "GEMINI", "GOOGLE"):
        variables[f"{provider}_API_KEY"] = access.token
    for name in access.own:
        prefix, base = variable_prefix(name), f"{origin}/{name}/v1"
        variables |= {f"{prefix}_BASE_URL": base, f"{prefix}_API_BASE": base}
        variables[f"{prefix}_API_KEY"] = access.token
    if access.home:
        variables["AGENTWATCH_HOME"] = access.home
    if access.fails_closed:
        variables["AGENTWATCH_ENFORCEMENT_FAIL_OPEN"] = "false"
    return variables


def child_environment(
    environ: Mapping[str, str], access: Access, gemini_settings: Path
) -> ChildEnvironment:
    """The environment of the wrapped command, made of ours."""
    taken_out = {*TAKEN_OUT, *(f"{variable_prefix(name)}_API_KEY" for name in access.own)}
    secrets = _known_secrets(environ, taken_out)
    kept: dict[str, str] = {}
    also: list[str] = []
    for name, value in environ.items():
        if name in taken_out or name in WAYS_ROUND or _is_ours(name):
            continue
        if _holds_a_key(value, secrets):
            also.append(name)
        else:
            kept[name] = value
    kept.update(no_proxy(kept))
    kept.update(session_variables(access))
    kept["GEMINI_CLI_SYSTEM_SETTINGS_PATH"] = str(gemini_settings)
    kept["GEMINI_CLI_HOME"] = str(gemini_settings.with_name(_GEMINI_HOME))
    # openai-agents would post its traces to OpenAI's public address, with the token for a key
    kept.setdefault("OPENAI_AGENTS_DISABLE_TRACING", "1")
    return ChildEnvironment(kept, sorted(also))


def missing_keys(environ: Mapping[str, str], providers: Sequence[str]) -> list[str]:
    """What to tell where the daemon, which has the keys of `providers`, lacks one that its caller
    has, or has none at all: its calls would be refused, and nobody would know why."""
    words = [
        f"{name} is set here, but the daemon has no key for {provider}: calls to it will be "
        f"refused. Hand it over: printenv {name} | agentwatch keys set {provider}"
        for provider, names in _KEY_VARIABLES.items()
        for name in [next((each for each in names if _is_foreign(environ.get(each, ""))), None)]
        if name is not None and provider not in providers
    ]
    if not words and not providers:
        words = ["the daemon has no key yet: calls will be refused. agentwatch keys set openai"]
    return words


def _is_foreign(value: str) -> bool:
    """Whether a variable's value may be a provider's key: not where a shell has ours there."""
    return bool(value.strip()) and not value.strip().startswith(OWN_PREFIXES)


def _is_ours(name: str) -> bool:
    return name.startswith("AGENTWATCH_") and name not in _KEPT_OF_OURS


def _known_secrets(environ: Mapping[str, str], taken_out: Iterable[str]) -> list[str]:
    names = [*taken_out, "AGENTWATCH_API_KEY"]
    values = {environ.get(name, "").strip() for name in names}
    return [value for value in values if len(value) >= _SHORTEST_KEY]


def _holds_a_key(value: str, secrets: Sequence[str]) -> bool:
    return any(secret in value for secret in secrets) or _KEY_SHAPE.search(value) is not None


def no_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY and no_proxy, extended by this machine: else an HTTP_PROXY would see each call."""
    extended = {}
    either = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host.strip() for host in (environ.get(name) or either).split(",") if host.strip()]
        hosts += [host for host in _LOCAL_HOSTS if host not in hosts and "*" not in hosts]
        extended[name] = ",".join(hosts)
    return extended


def write_gemini_settings(folder: Path, environ: Mapping[str, str]) -> Path:
    """The settings file that makes the Gemini CLI use its key variable; what the user's own
    system settings say otherwise stays.

    From 0.61 on it takes system settings from root's files alone. So a home of its own goes with
    it, in which the user's settings say the same and all else of them is linked to.
    """
    named = environ.get("GEMINI_CLI_SYSTEM_SETTINGS_PATH") or "/etc/gemini-cli/settings.json"
    home = folder / _GEMINI_HOME / ".gemini"
    own = Path(environ.get("GEMINI_CLI_HOME") or environ.get("HOME") or Path.home()) / ".gemini"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if own.resolve() != home.resolve():
        _link_all(own, home)
        _write_settings(home / "settings.json", own / "settings.json")
    return _write_settings(folder / "gemini-cli.json", Path(named))


def _link_all(own: Path, home: Path) -> None:
    """Link to each of the user's files, but the settings; what is gone is not linked any more."""
    for each in home.iterdir():
        if each.is_symlink() and not each.exists():
            each.unlink()
    for each in own.iterdir() if own.is_dir() else ():
        link = home / each.name
        if each.name != "settings.json" and not (link.is_symlink() or link.exists()):
            with contextlib.suppress(FileExistsError):
                link.symlink_to(each)


def _write_settings(path: Path, user: Path) -> Path:
    """The user's settings with the one that is ours. Written whole (0600), so a reader never sees
    half."""
    settings = _user_gemini_settings(user)
    security = _table(settings, "security")
    _table(security, "auth")["selectedType"] = "gemini-api-key"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".gemini-cli-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(settings, file)
    Path(name).replace(path)
    return path


def _user_gemini_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _table(parent: dict[str, Any], key: str) -> dict[str, Any]:
    table = parent.get(key)
    if not isinstance(table, dict):
        table = parent[key] = {}
    return table


def adapt_command(
    command: Sequence[str], variables: dict[str, str]
) -> tuple[list[str], dict[str, str], str | None]:
    """Command and variables for programs that read no base URL from their environment.

    Codex gets `-c openai_base_url=…` and CODEX_API_KEY, and its hosted web search is switched off
    unless the command line says something of it. Where the user gave a base URL of his own, it
    stays, and the third value says what that means.
    """
    if Path(command[0]).name != "codex":
        return list(command), variables, None
    variables = {**variables, "CODEX_API_KEY": variables["OPENAI_API_KEY"]}
    arguments = list(command[1:])
    if _codex_is_told(arguments, CODEX_SETTING):
        warning = f"codex was given its own {CODEX_SETTING}: calls there are not governed"
        return list(command), variables, warning
    settings = ["-c", f'{CODEX_SETTING}="{variables["OPENAI_BASE_URL"]}"']
    if not _codex_searches(arguments):
        settings += ["-c", f'{_CODEX_SEARCH}="disabled"']
    return [command[0], *settings, *arguments], variables, None


def _codex_searches(arguments: Sequence[str]) -> bool:
    return (
        "--search" in arguments
        or _codex_is_told(arguments, _CODEX_SEARCH)
        or _codex_is_told(arguments, f"tools.{_CODEX_SEARCH}")
    )


def _codex_is_told(arguments: Sequence[str], setting: str) -> bool:
    """Whether one of the `-c KEY=VALUE` sets this key."""
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if flag in ("-c", "--config") and value.strip().startswith(setting):
            return True
        attached = flag.removeprefix("--config=").removeprefix("-c")
        if attached != flag and attached.lstrip("=").startswith(setting):
            return True
    return False


def changes(
    environ: Mapping[str, str], wanted: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """What is to be set and what unset to get from `environ` to `wanted`."""
    to_set = {name: value for name, value in wanted.items() if environ.get(name) != value}
    return to_set, sorted(name for name in environ if name not in wanted)
