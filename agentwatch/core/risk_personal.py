"""Detectors of personal data: mail addresses, telephones, cards, accounts, US numbers, addresses.

Numbers are everywhere in what agents read (times, versions, ids, columns). So one pass finds the
places that are dense with digits, and the readers of numbers look at nothing else; a check digit
or the word in front decides where the form alone says too little.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

from agentwatch.core.risk_text import Find, Span, Text, digits_of


def _in_numbers(pattern: str, is_one: Callable[[re.Match[str]], bool]) -> Find:
    matching = re.compile(pattern, re.ASCII)

    def find(of: Text) -> Iterator[Span]:
        for start, end in of.numbers:
            for found in matching.finditer(of.text, start, end):
                if is_one(found):
                    yield found.span()

    return find


def _said_before(found: re.Match[str], words: re.Pattern[str], within: int) -> bool:
    """Whether one of the words stands shortly before a match."""
    return words.search(found.string, max(0, found.start() - within), found.start()) is not None


# ---- mail

_DOMAIN = re.compile(
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}(?P<top>[A-Za-z]{2,24})(?![A-Za-z0-9_-])"
)
_LOCAL = re.compile(r"[A-Za-z0-9._%+-]{1,64}\Z", re.ASCII)
#: nobody's address: git's login, senders that nobody reads
_NOBODY = re.compile(r"git|(?:no|do-?not)[._-]?reply|[0-9.+-]+", re.IGNORECASE)
_LOGIN = re.compile(r"://[^\s/@]{0,64}\Z")
#: what follows `@2x.` in the name of a picture
_NO_TOP = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "css", "js", "ts"})


def _email(of: Text) -> Iterator[Span]:
    text = of.text
    at = text.find("@")
    while at >= 0:
        found = _DOMAIN.match(text, at)
        local = found and _LOCAL.search(text[max(0, at - 64) : at])
        if (
            found
            and local
            and found["top"].lower() not in _NO_TOP
            and _somebody(text, at, local[0])
        ):
            yield at - len(local[0]), found.end()
        at = text.find("@", at + 1)


def _somebody(text: str, at: int, local: str) -> bool:
    """Whether it is an address, and no login in a URL (`https://name:token@host`)."""
    start = at - len(local)
    return not (_NOBODY.fullmatch(local) or _LOGIN.search(text[max(0, start - 80) : start]))


# ---- cards, accounts, US social security

_CARD = (
    r"(?<![0-9A-Za-z_])(?<![.-])(?:[0-9]{13,19}"
    r"|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{5})(?![0-9A-Za-z_]|[.-][0-9])"
)


def _is_card(found: re.Match[str]) -> bool:
    digits = digits_of(found[0])
    return _is_issued(digits) and passes_luhn(digits)


def _is_issued(digits: str) -> bool:
    """Whether an issuer of cards has numbers that begin so and are that long."""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        return size in (13, 16, 19)
    if two in (34, 37):
        return size == 15
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return size == 16
    if four == 6011 or two == 65 or 644 <= int(digits[:3]) <= 649:
        return size in (16, 19)
    if 622126 <= int(digits[:6]) <= 622925:
        return size in (16, 19)
    if two in (36, 38, 39) or 300 <= int(digits[:3]) <= 305:
        return size == 14
    return 3528 <= four <= 3589 and 16 <= size <= 19


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of those before it."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


_IBAN = re.compile(
    r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", re.ASCII
)
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}", re.ASCII)
_IBAN_SIZES = {
    "AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22,
    "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27,
    "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "RS": 22, "SA": 24, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "TR": 26, "UA": 29,
}  # fmt: skip


#: characters in front of an account's digits: "MT84 MALT "
_IBAN_HEAD = 12


def _iban(of: Text) -> Iterator[Span]:
    seen = -1
    for place, end in of.numbers:
        for start in _IBAN_START.finditer(of.text, max(seen, place - _IBAN_HEAD), end):
            span = _account(of.text, start.start(), _IBAN_SIZES.get(start[0][:2], 0))
            if span is not None:
                seen = span[1]
                yield span
                break


def _account(text: str, start: int, size: int) -> Span | None:
    found = _IBAN.match(text, start) if size else None
    end = _end_of(found[0], size) if found else None
    if found and end and passes_mod97(found[0][:end].replace(" ", "")):
        return start, start + end
    return None


def _end_of(text: str, size: int) -> int | None:
    """How many characters of the text hold `size` that are no blank; None where it is shorter,
    or goes on without a blank."""
    for end in range(size, len(text) + 1):
        if end - text.count(" ", 0, end) == size:
            return end if end == len(text) or text[end] == " " else None
    return None


def passes_mod97(iban: str) -> bool:
    """Whether an account number (ISO 13616, without blanks) has the check digits of its rest."""
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1


_AREA, _SERIAL = r"(?!000|666|9[0-9]{2})[0-9]{3}", r"(?!0000)[0-9]{4}(?![0-9A-Za-z_]|[.-][0-9])"
_SSN = (
    r"(?<![0-9A-Za-z_])(?<![.+-])(?:"
    rf"{_AREA}-(?!00)[0-9]{{2}}-{_SERIAL}"
    # three columns of a table are none
    rf"|(?<![0-9] ){_AREA}(?P<by> ?)(?!00)[0-9]{{2}}(?P=by){_SERIAL}(?! [0-9]))"
)
_SSN_SAID = re.compile(r"\bSSN\b|social.security|tax.?payer", re.IGNORECASE)


def _is_ssn(found: re.Match[str]) -> bool:
    return found["by"] != "" or _said_before(found, _SSN_SAID, 32)


# ---- telephones

_PHONE = (
    r"(?<![0-9A-Za-z_+])(?<![.-])(?<![0-9] )(?:"
    r"(?P<world>(?:\+|00)[1-9](?:[ ./-]?\(?[0-9]\)?){7,14})"
    r"|(?P<us>(?:1[ .-])?(?:\([2-9][0-9]{2}\)[ -]?|[2-9][0-9]{2}[.-])[2-9][0-9]{2}[.-][0-9]{4})"
    r"|(?P<trunk>\(?0[1-9][0-9]{1,3}\)?[ /-][0-9]{3,4}[ -][0-9]{3,4})"
    r"|(?P<any>\(?[0-9](?:[ -]?\(?[0-9]\)?){6,12})"
    r")(?![0-9A-WYZa-wyz_]|[ .-][0-9])"
)
_PHONE_SAID = re.compile(
    r"phone|\btel\b|mobile|\bcell\b|\bfax\b|whatsapp|\bcall me\b|\breach me\b", re.IGNORECASE
)
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-./]?[01][0-9][-./]?[0-3][0-9]")


def _is_phone(found: re.Match[str]) -> bool:
    number = found[0]
    if found["world"]:
        return _is_dialled(found)
    if found["us"] or found["trunk"]:
        return True
    return not _DATE.match(number) and _said_before(found, _PHONE_SAID, 24)


def _is_dialled(found: re.Match[str]) -> bool:
    """No line that was added in a patch (`+1700000000`), no count with leading zeros."""
    number = found[0]
    apart = any(char in number for char in " ()-./")
    if number[0] == "0":
        return apart or _said_before(found, _PHONE_SAID, 24)
    at_line_start = found.start() == 0 or found.string[found.start() - 1] == "\n"
    return apart or not at_line_start


# ---- addresses of machines

_IPV4 = r"(?<![0-9A-Za-z_.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9]|-)"
_VERSION_SAID = re.compile(r"version|release|\bv\.? ?$|(?:[=~^<>!]=|[~^]) ?$", re.IGNORECASE)


def _is_somewhere(found: re.Match[str]) -> bool:
    """An address that leads to somebody: none of this machine's or of a private network's."""
    try:
        address = ipaddress.IPv4Address(found[0])
    except ValueError:
        return False
    return (
        bool(address.packed[0])
        and _leads_out(address)
        and not _said_before(found, _VERSION_SAID, 12)
    )


def _leads_out(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inward = address.is_loopback or address.is_link_local or address.is_multicast
    return not (inward or address.is_unspecified or address.is_reserved or _is_private(address))


_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


def _is_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Not `is_private`: that has the ranges of documentation too, which stand for public ones."""
    return any(address in network for network in _PRIVATE)


#: of the addresses that are given out (2000::/12 to 2c00::/12); a literal first is found fastest
_IPV6 = re.compile(r"2[0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{1,4}(?![0-9A-Za-z:])")
_ipv4 = _in_numbers(_IPV4, _is_somewhere)


def _ip(of: Text) -> Iterator[Span]:
    yield from _ipv4(of)
    for found in _IPV6.finditer(of.text):
        before = of.text[max(0, found.start() - 1) : found.start()]
        if not (before.isalnum() or before in (":", ".")) and _is_ipv6(found[0]):
            yield found.span()


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


#: detectors by tag
PERSONAL: dict[str, Find] = {
    "PII_EMAIL": _email,
    "PII_SSN": _in_numbers(_SSN, _is_ssn),
    "FINANCIAL_CREDIT_CARD": _in_numbers(_CARD, _is_card),
    "PII_PHONE": _in_numbers(_PHONE, _is_phone),
    "FINANCIAL_IBAN": _iban,
    "PII_IP": _ip,
}
