"""What a call cost, from the price table that `genai-prices` ships. Never asks the network for newer prices."""

import time
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from genai_prices import Usage, calc_price

from app.llm.usage import TokenUsage
from app.model_names import BUILT_IN, ModelRef, parse_model
from app.model_settings import ModelPrice

MILLION = Decimal(1_000_000)
MINUTE = 60
MOST_REMEMBERED = 1024
NO_OVERRIDES: Mapping[ModelRef, ModelPrice] = MappingProxyType({})


class Prices:
    """US dollars by list price; `overrides` (LLM_PRICES) come first. Models are named as runs name them."""

    def __init__(self, overrides: Mapping[ModelRef, ModelPrice] = NO_OVERRIDES) -> None:
        self._overrides = overrides

    def estimate(self, model: str, usage: TokenUsage) -> float | None:
        """None for a model without a known price."""
        try:
            asked = parse_model(model)
        except ValueError:
            return None
        override = self._overrides.get(asked)
        return _listed(asked, usage, time.time() // MINUTE) if override is None else _priced(override, usage)

    def total(self, usage_by_model: Mapping[str, TokenUsage]) -> float:
        """The sum over models; one without a known price counts as nothing."""
        return sum(self.estimate(model, usage) or 0.0 for model, usage in usage_by_model.items())

    def knows(self, model: str) -> bool:
        return self.estimate(model, TokenUsage()) is not None


# One call's usage is priced for the budget, the run and the task; some prices depend on the time of day.
@lru_cache(maxsize=MOST_REMEMBERED)
def _listed(asked: ModelRef, usage: TokenUsage, minute: float) -> float | None:  # noqa: ARG001
    counted = Usage(
        input_tokens=usage.prompt,
        output_tokens=usage.completion,
        cache_read_tokens=usage.cached,
        cache_write_tokens=usage.cache_written,
    )
    # What a gateway serves is looked for among all providers' models.
    for provider in (*(name for name in BUILT_IN if name == asked.provider), None):
        try:
            return float(calc_price(counted, asked.model, provider_id=provider).total_price)
        except (LookupError, ValueError):
            continue
    return None


def _priced(price: ModelPrice, usage: TokenUsage) -> float:
    cached = price.input_per_million if price.cached_input_per_million is None else price.cached_input_per_million
    fresh = Decimal(max(usage.prompt - usage.cached, 0))
    paid = fresh * price.input_per_million + usage.cached * cached + usage.completion * price.output_per_million
    return float(paid / MILLION)
