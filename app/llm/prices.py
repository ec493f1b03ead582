"""What a call cost, from the price table that `genai-prices` ships. Never asks the network for newer prices."""

from collections.abc import Mapping

from genai_prices import Usage, calc_price

from app.llm.usage import TokenUsage


def usd_estimate(model: str, usage: TokenUsage) -> float | None:
    """US dollars by list price, or `None` for a model the table does not know."""
    try:
        price = calc_price(Usage(input_tokens=usage.prompt, output_tokens=usage.completion), model)
    except (LookupError, ValueError):
        return None
    return float(price.total_price)


def usd_total(usage_by_model: Mapping[str, TokenUsage]) -> float:
    """The sum over models; one without a known price counts as nothing."""
    return sum(usd_estimate(model, usage) or 0.0 for model, usage in usage_by_model.items())
