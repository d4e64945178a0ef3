"""Texts whose risks are known: the corpus that is written down, and one that faker makes.

The first was written together with the scanner, so it says what is meant, and not how well it does.
Nothing was tuned on the second.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

CORPUS = Path(__file__).parent / "risk_corpus.txt"


class Sample(NamedTuple):
    """A text, and the one tag that it has; None: none."""

    tag: str | None
    text: str


def written() -> Iterator[Sample]:
    """The samples of risk_corpus.txt."""
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            tag, _, text = line.partition("\t")
            shown = text.replace("~", "").replace("\\\\", "\0").replace("\\n", "\n")
            yield Sample(None if tag == "-" else tag, shown.replace("\0", "\\"))


def drawn(count: int, seed: int) -> Iterator[Sample]:
    """Texts that faker makes, of eight countries: each kind in sentences and in records of data,
    and as many texts that hold none."""
    from faker import Faker

    draw = random.Random(seed)
    fakers = [Faker(locale) for locale in LOCALES]
    for number, faker in enumerate(fakers):
        faker.seed_instance(seed + number)
    for _ in range(count):
        faker = draw.choice(fakers)
        tag = draw.choice(list(_KINDS))
        yield Sample(tag, draw.choice(FRAMES).format(_KINDS[tag](faker, draw)))
        yield Sample(None, draw.choice(FRAMES).format(draw.choice(_NONE)(faker, draw)))


LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL")
FRAMES = (
    "Please look at {} and tell me more.",
    '{{"value": "{}", "kind": 3}}',
    "a,b,{},c",
    "INFO 12:30:45 handler: got {} from queue",
    "<td>{}</td>",
    "x = '{}'  # set by the form",
)
_LETTERS = string.ascii_letters + string.digits


def _of(prefix: str, size: int, alphabet: str = _LETTERS) -> Callable[[Any, random.Random], str]:
    return lambda faker, draw: prefix + "".join(draw.choices(alphabet, k=size))


def _jwt(faker: Any, draw: random.Random) -> str:
    parts = ({"alg": "RS256", "typ": "JWT", "kid": faker.uuid4()}, {"sub": faker.user_name()})
    told = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return ".".join((*(part.decode() for part in told), _of("", 86)(faker, draw)))


#: a drawn text of each kind that faker, or the form alone, gives
_KINDS: dict[str, Callable[[Any, random.Random], str]] = {
    "PII_EMAIL": lambda faker, draw: faker.email(),
    "PII_SSN": lambda faker, draw: (
        f"{draw.randint(101, 665)}-{draw.randint(10, 99)}-{draw.randint(1000, 9999)}"
    ),
    "PII_PHONE": lambda faker, draw: faker.phone_number(),
    "PII_IP": lambda faker, draw: draw.choice((faker.ipv4_public(), faker.ipv4_public())),
    "FINANCIAL_CREDIT_CARD": lambda faker, draw: faker.credit_card_number(
        draw.choice(("visa16", "mastercard", "amex", "discover"))
    ),
    "FINANCIAL_IBAN": lambda faker, draw: faker.iban(),
    "SECRET_AWS_ACCESS_KEY": _of("AKIA", 16, string.ascii_uppercase + string.digits),
    "SECRET_STRIPE": _of("sk_live_", 24),
    "SECRET_GITHUB": _of("ghp_", 36),
    "SECRET_OPENAI": _of("sk-proj-", 148, _LETTERS + "-_"),
    "SECRET_ANTHROPIC": _of("sk-ant-api03-", 95, _LETTERS + "-_"),
    "SECRET_GOOGLE": _of("AIza", 35, _LETTERS + "-_"),
    "SECRET_GROQ": _of("gsk_", 52),
    "SECRET_XAI": _of("xai-", 80),
    "SECRET_SLACK": lambda faker, draw: (
        f"xoxb-{draw.randrange(10**12)}-{draw.randrange(10**12)}-{_of('', 24)(faker, draw)}"
    ),
    "SECRET_JWT": _jwt,
    "SECRET_ASSIGNMENT": lambda faker, draw: (
        draw.choice(("password", "api_key", "client_secret"))
        + draw.choice(("=", ": ", " = "))
        + faker.password(draw.randint(16, 32)).replace("'", "7").replace('"', "8")
    ),
}
_NONE: tuple[Callable[[Any, random.Random], str], ...] = (
    lambda faker, draw: faker.sentence(),
    lambda faker, draw: faker.uuid4(),
    lambda faker, draw: faker.sha256(),
    lambda faker, draw: faker.iso8601(),
    lambda faker, draw: faker.file_path(depth=3),
    lambda faker, draw: faker.uri(),
    lambda faker, draw: faker.user_agent(),
    lambda faker, draw: faker.ipv4_private(),
    lambda faker, draw: faker.mac_address(),
    lambda faker, draw: str(draw.randrange(10 ** draw.randint(6, 19))),
    lambda faker, draw: f"{draw.uniform(0, 1000):.12f}",
    lambda faker, draw: faker.isbn13(),
    lambda faker, draw: faker.address().replace("\n", ", "),
    lambda faker, draw: f"{draw.randint(0, 20)}.{draw.randint(0, 30)}.{draw.randint(0, 99)}",
    lambda faker, draw: faker.json(num_rows=1),
    lambda faker, draw: str(time_ns(draw)),
)


def time_ns(draw: random.Random) -> int:
    """A moment of these years, in a unit that somebody counts in."""
    return int(draw.uniform(1.5e9, 1.9e9) * 10 ** draw.choice((0, 3, 6, 9)))
