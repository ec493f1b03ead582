"""Quantiles that merge: DDSketch buckets kept as counters.

A value falls in the bucket ``ceil(log_gamma(value))``; every quantile is then right within 1 %, and two sketches
merge by adding counters, which is what ``$inc`` does. Source: Masson, Rim, Lee, "DDSketch", VLDB 2019.
"""

import math
from collections.abc import Mapping

from ddsketch.mapping import LogarithmicMapping

RELATIVE_ERROR = 0.01
_MAPPING = LogarithmicMapping(RELATIVE_ERROR)
SMALLEST = 1.0


def bucket_of(value: float) -> str:
    """The bucket's key for a value in milliseconds; what is under one millisecond counts as one."""
    return str(_MAPPING.key(max(value, SMALLEST)))


def quantile(buckets: Mapping[str, int], q: float) -> float | None:
    """The ``q``-quantile of everything counted, None when nothing was."""
    total = sum(buckets.values())
    if total <= 0:
        return None
    rank, seen = math.floor(q * (total - 1)), 0
    ordered = sorted((int(key), count) for key, count in buckets.items())
    for key, count in ordered:
        seen += count
        if seen > rank:
            return float(_MAPPING.value(key))
    return float(_MAPPING.value(ordered[-1][0]))


def merged(sketches: list[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for sketch in sketches:
        for key, count in sketch.items():
            total[key] = total.get(key, 0) + count
    return total
