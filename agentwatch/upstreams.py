"""A provider's address as a user gives it -> the base that requests are appended to, and the
provider that an address is.

An address is taken as that provider's SDK takes its base URL, with or without the version part.
What comes out always has the version for OpenAI and xAI, and never for the others; the host is in
small letters, and a port that is the scheme's own is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from agentwatch.errors import SettingsError

PUBLIC_UPSTREAMS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "groq": "https://api.groq.com",
    "xai": "https://api.x.ai/v1",
    "gemini": "https://generativelanguage.googleapis.com",
}

#: where a provider of the user's own is, if not said, by what it speaks
WIRE_UPSTREAMS = {"mistral": "https://api.mistral.ai/v1"}

PROVIDERS = tuple(PUBLIC_UPSTREAMS)

#: what a user may have put behind the base, for the providers whose base has no version
_VERSION_TAILS = {
    "anthropic": re.compile(r"/v1$"),
    "groq": re.compile(r"(/openai)?(/v1)?$"),
    "gemini": re.compile(r"(/v1(beta|alpha)?)?(/openai)?$"),
}
_HAS_VERSION = re.compile(r"/v[0-9]+[a-z0-9]*$")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]")
_OWN_PORT = re.compile(r"(?<=^https)(://.*):443$|(?<=^http)(://.*):80$")
#: this machine, by the names that are one server where the port is the same
_HERE = re.compile(r"//(localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$)")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:-]+)*")


def upstream_base(provider: str, text: str) -> str:
    """The base URL, without a slash at its end, that this provider's paths are appended to.

    Raises SettingsError for what is no plain address: another scheme than https (http for
    loopback addresses only), credentials, query, fragment, odd characters. The message never
    repeats the address, as a secret may be in it.
    """
    parts = _split(provider, text)
    path = parts.path.rstrip("/")
    if provider in _VERSION_TAILS:
        path = _VERSION_TAILS[provider].sub("", path)
    elif not _HAS_VERSION.search(path):
        path += "/v1"
    return _OWN_PORT.sub(r"\1\2", f"{parts.scheme}://{parts.netloc.lower()}") + path


class Place(NamedTuple):
    """A provider, and what of a client's base URL stands behind the provider's own."""

    provider: str
    tail: str

    def path(self, path: str) -> str:
        """A path below the client's base URL, as it is below the provider's prefix."""
        return self.tail + path.removeprefix("/v1") if self.tail else path


def place_of(base: str, named: Iterable[tuple[str, str]]) -> Place | None:
    """The first of these providers and addresses (as `upstream_base` gives them) that a client's
    base URL is; one that is spelled alike goes before another name of this machine."""
    pairs = tuple(named)
    places = (
        _at(name, base, address, spelled)
        for spelled in (str, _here_as_one)
        for name, address in pairs
    )
    return next(filter(None, places), None)


def _here_as_one(address: str) -> str:
    return _HERE.sub("//localhost", address)


def _at(name: str, base: str, address: str, spelled: Callable[[str], str]) -> Place | None:
    try:
        told = upstream_base(name, base)
    except SettingsError:
        return None
    if spelled(told) != spelled(address):
        return None
    path, known = urlsplit(base).path.rstrip("/"), urlsplit(told).path
    return Place(name, path.removeprefix(known) if path.startswith(known + "/") else "")


def public_place(base: str) -> Place | None:
    """The provider whose public address this is."""
    return place_of(base, (*PUBLIC_UPSTREAMS.items(), *WIRE_UPSTREAMS.items()))


def region_of(base: str) -> tuple[str, str] | None:
    """The provider of which this is a region (https://eu.api.openai.com), and the region's
    address as `[providers.NAME] base_url` takes it."""
    for name, public in PUBLIC_UPSTREAMS.items():
        try:
            told = upstream_base(name, base)
        except SettingsError:
            return None
        if re.fullmatch(r"https://[a-z0-9-]+\." + re.escape(public.removeprefix("https://")), told):
            return name, told
    return None


def _split(provider: str, text: str) -> SplitResult:
    problem = f"the upstream address of {provider} "
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise SettingsError(problem + "has characters that no address has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise SettingsError(problem + "is no address") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise SettingsError(problem + "must begin with https:// and a host")
    if "@" in parts.netloc:
        raise SettingsError(problem + "has credentials in it: use `agentwatch keys set` for keys")
    if "?" in text or "#" in text:
        raise SettingsError(problem + "has a query or fragment: give the plain base URL")
    _check_host(problem, parts, port)
    return parts


def _check_host(problem: str, parts: SplitResult, port: int | None) -> None:
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    segments = parts.path.split("/")
    if not _HOST.fullmatch(host) or port == 0:
        raise SettingsError(problem + "has a host or port that can't be")
    if not _PATH.fullmatch(parts.path.rstrip("/")) or {".", ".."} & set(segments):
        raise SettingsError(problem + "has a path that can't be")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise SettingsError(
            problem + "is plain http to another machine, which would show the key to the "
            "network: use https://"
        )


def own_key_variables(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Where the keys of providers that only the configuration defines stand: {"deepseek":
    ("DEEPSEEK_API_KEY",)}."""
    return {name: (f"{variable_prefix(name)}_API_KEY",) for name in names}


def variable_prefix(name: str) -> str:
    """What the variables of a provider begin with: "my-vllm" has MY_VLLM_API_KEY."""
    return name.upper().replace("-", "_")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine for certain: `localhost` or a loopback address as such."""
    if host.lower() == "localhost":
        return True
    import ipaddress  # it takes long to load, for what is seldom asked

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
