"""The user's prices.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentwatch.core.naming import equals
from agentwatch.core.price_book import Band, Catalogue, Entry, ModelPrice, PriceBook, Rates
from agentwatch.core.prices import Unpriced, cost, worst_rates
from agentwatch.core.usage import Usage
from agentwatch.errors import SettingsError
from agentwatch.pricing.user_file import with_user_file

USD = 1_000_000_000
LISTED = ModelPrice(
    provider="openai",
    model="gpt-x",
    tiers={
        "default": (Band(rates=Rates(input=9 * USD, output=9 * USD)),),
        "priority": (Band(rates=Rates(input=18 * USD, output=18 * USD)),),
    },
    max_output_tokens=1000,
    context_window=2000,
    source="list",
)
CATALOGUE = Catalogue(
    version="1",
    from_at=0.0,
    stale_at=None,
    entries={"openai": (Entry(clause=equals("gpt-x"), model="gpt-x", price=LISTED),)},
    fees={},
)


def book(tmp_path: Path, text: str) -> PriceBook:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    return PriceBook(with_user_file(CATALOGUE, file, file.read_bytes()))


def found(tmp_path: Path, text: str, model: str = "my-model") -> ModelPrice:
    price = book(tmp_path, text).find("openai", model)
    assert price is not None
    return price


def test_an_own_model_has_its_own_price(tmp_path: Path) -> None:
    price = found(tmp_path, '[openai."my-model"]\ninput = 1.25\noutput = 4\n')
    assert price.source == "user"
    assert cost(price, Usage(input_tokens=1000, output_tokens=10)) == 1000 * 1250 + 10 * 4000


def test_a_decimal_fraction_is_taken_exactly(tmp_path: Path) -> None:
    price = found(tmp_path, '[openai."my-model"]\ninput = 0.1\noutput = 0.3\n')
    assert price.tiers["default"][0].rates.output == 300_000_000


def test_the_users_price_comes_before_the_list_and_in_any_case(tmp_path: Path) -> None:
    price = found(tmp_path, '[openai."GPT-X"]\ninput = 1\noutput = 1\n', "gpt-x")
    assert cost(price, Usage(input_tokens=1_000_000)) == USD


def test_tiers_that_the_user_does_not_name_are_not_taken_from_the_list(tmp_path: Path) -> None:
    price = found(tmp_path, '[openai."gpt-x"]\ninput = 1\noutput = 1\n', "gpt-x")
    with pytest.raises(Unpriced):
        cost(price, Usage(input_tokens=1), "priority")


def test_own_service_tiers(tmp_path: Path) -> None:
    text = '[openai."m"]\ninput = 1\noutput = 1\n[openai."m".service_tiers.priority]\ninput = 3\n'
    price = found(tmp_path, text, "m")
    assert cost(price, Usage(input_tokens=1), "fast") == 3000
    with pytest.raises(Unpriced):
        worst_rates(price, 1, ("priority",))


def test_limits_are_kept_from_the_list_and_can_be_set_alone(tmp_path: Path) -> None:
    rates = found(tmp_path, '[openai."gpt-x"]\ninput = 1\noutput = 1\n', "gpt-x")
    assert (rates.max_output_tokens, rates.context_window) == (1000, 2000)
    limits = found(tmp_path, '[openai."gpt-x"]\nmax_output_tokens = 77\n', "gpt-x")
    assert limits.max_output_tokens == 77
    assert limits.tiers == LISTED.tiers


def test_zero_is_a_price_that_the_user_may_say(tmp_path: Path) -> None:
    price = found(tmp_path, '[openai."my-model"]\ninput = 0\noutput = 0.0\n')
    assert cost(price, Usage(input_tokens=10**6, output_tokens=10**6)) == 0


def test_the_version_tells_that_a_file_was_used(tmp_path: Path) -> None:
    first = book(tmp_path, '[openai."a"]\ninput = 1\n').version
    second = book(tmp_path, '[openai."a"]\ninput = 2\n').version
    assert len({first, second, CATALOGUE.version}) == 3


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[openai."a"]\ninput = 1\noutptu = 2\n', 3, "output"),
        ('# first\n[openai."a"]\ninput = -1\n', 3, "zero or more"),
        ('[openai."a"]\noutput = 1\ninput = nan\n', 3, "zero or more"),
        ('[openai."a"]\ninput = inf\n', 2, "zero or more"),
        ('[openai."a"]\ninput = "1"\n', 2, "must be a number"),
        ('[openai."a"]\ninput = true\n', 2, "must be a number"),
        ('[openai."a"]\ninput = 1e9\n', 2, "above"),
        ('[openai."a"]\noutput = 1\n', 1, "missing"),
        ('[openai."a"]\nmax_output_tokens = 5\n', 1, "no price to take over"),
        ('[openai."gpt-x"]\nmax_output_tokens = 1.5\n', 2, "whole number"),
        ('[openai."gpt-x"]\ncontext_window = 0\n', 2, "whole number"),
        ('[opnai."a"]\ninput = 1\n', None, "no such provider"),
        ('[openai."b"]\ninput=1\n[openai."a"]\ninput = 1\nservice_tiers = 1\n', 5, "tables"),
        ('[openai."a"]\ninput = 1\n[openai."a".service_tiers.flex]\nx = 1\n', 4, "no such key"),
        ("[openai]\na = 1\n", None, "table of rates"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_never_passed_over(
    tmp_path: Path, text: str, line: int | None, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        book(tmp_path, text)
    message = str(caught.value)
    assert said in message
    assert "prices.toml" in message
    if line is not None:
        assert f"line {line}:" in message


def test_broken_toml_and_broken_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"prices\.toml: Expected"):
        book(tmp_path, "[openai")
    with pytest.raises(SettingsError, match=r"prices\.toml"):
        with_user_file(CATALOGUE, tmp_path / "prices.toml", b"\xff\xfe")


def test_a_provider_of_the_users_own_and_all_its_models(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[local."*"]\ninput = 0\noutput = 0\n[local.big]\ninput = 1\noutput = 2\n')
    with pytest.raises(SettingsError, match="no such provider"):
        with_user_file(CATALOGUE, file, file.read_bytes())
    own = PriceBook(with_user_file(CATALOGUE, file, file.read_bytes(), ("local",)))
    free, big = own.find("local", "anything"), own.find("local", "big")
    used = Usage(input_tokens=10, output_tokens=10)
    assert free is not None and cost(free, used) == 0
    assert big is not None and cost(big, used) == 30_000
    assert own.find("openai", "anything") is None
