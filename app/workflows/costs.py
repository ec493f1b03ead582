"""What attempts consumed, added up. Pure."""

from collections.abc import Iterable, Mapping

NO_COST: Mapping[str, float] = {
    "usd": 0.0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "tokens": 0,
    "model_calls": 0,
    "unpriced_calls": 0,
    "seconds": 0.0,
}


def added(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total = dict(NO_COST)
    for cost in costs:
        for name in total:
            total[name] += cost.get(name, 0)
    return {name: round(value, 8) if isinstance(value, float) else value for name, value in total.items()}
