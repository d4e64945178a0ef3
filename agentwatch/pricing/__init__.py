"""Where the price book comes from: genai-prices (pinned, offline), our own rules, the user's file.

Same layer as `settings`: it reads files, and is read by the daemon and the CLI.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata, resources
from pathlib import Path

from agentwatch.core.price_book import Catalogue, PriceBook
from agentwatch.errors import SettingsError
from agentwatch.pricing import own_rules
from agentwatch.pricing.cached import read_cached, write_cached

__all__ = ["load_book"]

_LIBRARY = "genai-prices"


def load_book(
    cache_dir: Path | None,
    user_file: Path | None = None,
    *,
    upstreams: Mapping[str, str] | None = None,
    now: float | None = None,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> PriceBook:
    """The price book as it stands now (`now`: seconds since 1970; None: the clock).

    `cache_dir` is where the compiled list is kept (None: nowhere), `user_file` the user's
    prices.toml, which need not exist; `read` gives its content. `upstreams` are the providers'
    base URLs: a regional one may be dearer. Never uses the network. Takes 2 ms, and 0.5 s when it
    must be compiled. Raises SettingsError for a user's file that is not understood.
    """
    catalogue = _catalogue(cache_dir, time.time() if now is None else now)
    if user_file is not None and (raw := _content(user_file, read)) is not None:
        from agentwatch.pricing.user_file import with_user_file

        catalogue = with_user_file(catalogue, user_file, raw, tuple(upstreams or ()))
    for provider, base_url in (upstreams or {}).items():
        thousandths = own_rules.uplift_thousandths(provider, base_url)
        if thousandths != 1000:
            from agentwatch.pricing.compile import uplifted

            catalogue = uplifted(catalogue, provider, thousandths)
    return PriceBook(catalogue)


def _content(file: Path, read: Callable[[Path], bytes]) -> bytes | None:
    try:
        return read(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror}") from None


def _catalogue(cache_dir: Path | None, now: float) -> Catalogue:
    source = f"{_LIBRARY} {metadata.version(_LIBRARY)}"
    version = f"{source}, rules {_rules_digest()}"
    cached = read_cached(cache_dir, version, now) if cache_dir else None
    if cached is not None:
        return cached
    from agentwatch.pricing.compile import bundled_providers, compile_catalogue

    catalogue = compile_catalogue(bundled_providers(), source=source, version=version, now=now)
    if cache_dir:
        write_cached(cache_dir, version, catalogue)
    return catalogue


@cache
def _rules_digest() -> str:
    """Of the code and tables that a catalogue is made by: another digest, another catalogue."""
    made_by = {
        "agentwatch.pricing": ("own_rules.py", "compile.py", "systems.py"),
        "agentwatch.core": ("price_book.py", "prices.py", "naming.py"),
    }
    digest = hashlib.sha256()
    for package, names in made_by.items():
        for name in names:
            digest.update(resources.files(package).joinpath(name).read_bytes())
    return digest.hexdigest()[:8]
