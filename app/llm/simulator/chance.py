"""Chance that is the same every time: numbers from a seed and what they are drawn for, and how long calls then take."""

import hashlib
import math
from statistics import NormalDist
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LONGEST_LATENCY = 600.0
_BITS = 52  # as many as a float holds beside the half that keeps the number inside the open interval
_NUMBERS = float(1 << _BITS)
_NORMAL = NormalDist()
_P99 = _NORMAL.inv_cdf(0.99)

Seconds = Annotated[float, Field(ge=0, le=LONGEST_LATENCY)]


def draw(seed: int, *drawn_for: object) -> float:
    """Uniform in the open interval (0, 1); depends on nothing but the arguments."""
    written = "\x1f".join(map(str, (seed, *drawn_for)))
    number = int.from_bytes(hashlib.sha256(written.encode()).digest()[:8]) >> (64 - _BITS)
    return (number + 0.5) / _NUMBERS


class Distribution(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Constant(Distribution):
    """Always so many seconds."""

    distribution: Literal["constant"]
    seconds: Seconds

    def at(self, _chance: float) -> float:
        return self.seconds


class Uniform(Distribution):
    """Anything between, each as likely, in seconds."""

    distribution: Literal["uniform"]
    low: Seconds
    high: Seconds

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError("high must not be less than low")
        return self

    def at(self, chance: float) -> float:
        return self.low + chance * (self.high - self.low)


class Lognormal(Distribution):
    """Half of the calls take at most ``p50`` seconds, 99 of 100 at most ``p99``: how model providers are measured."""

    distribution: Literal["lognormal"]
    p50: Annotated[float, Field(gt=0, le=LONGEST_LATENCY)]
    p99: Annotated[float, Field(gt=0, le=LONGEST_LATENCY)]

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.p99 < self.p50:
            raise ValueError("p99 must not be less than p50")
        return self

    def at(self, chance: float) -> float:
        spread = math.log(self.p99 / self.p50) / _P99
        return min(self.p50 * math.exp(spread * _NORMAL.inv_cdf(chance)), LONGEST_LATENCY)


Latency = Annotated[Constant | Uniform | Lognormal, Field(discriminator="distribution")]
