from decimal import Decimal

import pytest

from app.llm.prices import Prices
from app.llm.usage import TokenUsage
from app.model_names import ModelRef
from app.model_settings import ModelPrice

MILLION = 1_000_000
USAGE = TokenUsage(prompt=MILLION, completion=MILLION, total=2 * MILLION)
LOCAL = ModelRef("local", "llama")
OVERRIDES = {
    LOCAL: ModelPrice(input_per_million=Decimal("0.5"), output_per_million=Decimal("2")),
    ModelRef("openai", "gpt-4o-mini"): ModelPrice(
        input_per_million=Decimal("10"), output_per_million=Decimal("20"), cached_input_per_million=Decimal("1")
    ),
}


def test_a_known_model_has_a_price() -> None:
    assert Prices().estimate("gpt-4o-mini", USAGE) == pytest.approx(0.15 + 0.60)


def test_a_model_that_a_gateway_serves_has_the_price_of_its_name() -> None:
    assert Prices().estimate("local:gpt-4o-mini", USAGE) == pytest.approx(0.15 + 0.60)


def test_an_unknown_model_has_none_and_adds_nothing() -> None:
    prices = Prices()

    assert prices.estimate("my-own-model", USAGE) is None
    assert not prices.knows("my-own-model")
    assert prices.total({"my-own-model": USAGE, "gpt-4o-mini": USAGE}) == pytest.approx(0.75)


def test_no_tokens_cost_nothing() -> None:
    assert Prices().estimate("gpt-4o-mini", TokenUsage()) == 0


@pytest.mark.parametrize("model", ["gpt-4o-mini", "anthropic:claude-sonnet-4-5"])
def test_what_was_read_from_the_providers_cache_is_cheaper(model: str) -> None:
    fresh = Prices().estimate(model, TokenUsage(MILLION, 0, MILLION))
    cached = Prices().estimate(model, TokenUsage(MILLION, 0, MILLION, cached=MILLION))

    assert fresh is not None
    assert cached is not None
    assert 0 < cached < fresh


def test_what_was_put_into_anthropics_cache_is_dearer() -> None:
    fresh = Prices().estimate("anthropic:claude-sonnet-4-5", TokenUsage(MILLION, 0, MILLION))
    written = Prices().estimate("anthropic:claude-sonnet-4-5", TokenUsage(MILLION, 0, MILLION, cache_written=MILLION))

    assert fresh is not None
    assert written is not None
    assert written > fresh


def test_what_was_thought_is_part_of_the_completion_and_paid_once() -> None:
    said = Prices().estimate("gpt-5-mini", TokenUsage(0, MILLION, MILLION))
    thought = Prices().estimate("gpt-5-mini", TokenUsage(0, MILLION, MILLION, reasoning=MILLION // 2))

    assert said == thought != 0


def test_a_configured_price_comes_before_the_list() -> None:
    prices = Prices(OVERRIDES)

    assert prices.estimate("gpt-4o-mini", USAGE) == pytest.approx(30)
    assert prices.estimate("local:llama", USAGE) == pytest.approx(2.5)
    assert prices.knows("local:llama")


def test_of_a_configured_price_cached_tokens_are_input_unless_they_have_their_own() -> None:
    prices = Prices(OVERRIDES)
    cached = TokenUsage(MILLION, 0, MILLION, cached=MILLION)

    assert prices.estimate("gpt-4o-mini", cached) == pytest.approx(1)
    assert prices.estimate("local:llama", cached) == pytest.approx(0.5)


def test_a_price_of_nothing_is_a_known_price() -> None:
    free = ModelPrice(input_per_million=Decimal(0), output_per_million=Decimal(0))

    assert Prices({LOCAL: free}).estimate("local:llama", USAGE) == 0
