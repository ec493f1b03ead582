import pytest

from app.llm.prices import usd_estimate, usd_total
from app.llm.usage import TokenUsage

USAGE = TokenUsage(prompt=1_000_000, completion=1_000_000, total=2_000_000)


def test_a_known_model_has_a_price() -> None:
    assert usd_estimate("gpt-4o-mini", USAGE) == pytest.approx(0.15 + 0.60)


def test_an_unknown_model_has_none_and_adds_nothing() -> None:
    assert usd_estimate("my-own-model", USAGE) is None
    assert usd_total({"my-own-model": USAGE, "gpt-4o-mini": USAGE}) == pytest.approx(0.75)


def test_no_tokens_cost_nothing() -> None:
    assert usd_estimate("gpt-4o-mini", TokenUsage()) == 0
