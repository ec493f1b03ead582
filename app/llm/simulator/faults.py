"""Faults on demand: a directive in the task, or an order to the whole process.

``[[sim latency=2]]``, ``[[sim error=429 retry_after=1 role=router]]``, ``[[sim hang]]``, ``[[sim flaky=2]]``,
``[[sim schema uncorrected]]``, ``[[sim piece=4 pace=0.05]]``, ``[[sim drop after=0.3]]``. Several directives may stand
in one text; `role` restricts one to a kind of call.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

_DIRECTIVE = re.compile(r"[ \t]?\[\[sim\b([^\[\]]*)\]\]")
LONGEST_HANG = 600.0
_REMEMBERED_CONVERSATIONS = 10_000


class Behaviour(StrEnum):
    """Ways to answer wrongly or too slowly with status 200, or not at all.

    Broken off in the middle, an answer is a `DROP` where the connection ends and a `STALL` where it stays open. What is
    `MALFORMED` is no HTTP answer of a provider; what is `GARBLED` is one whose text is not the JSON that it should be.
    """

    HANG = "hang"
    STALL = "stall"
    DROP = "drop"
    DRIP = "drip"
    MALFORMED = "malformed"
    GARBLED = "garbled"
    EMPTY = "empty"
    NO_CHOICES = "nochoices"
    REFUSE = "refuse"
    LENGTH = "length"
    SCHEMA = "schema"


class UnknownFault(ValueError):
    """A directive that asks for something this simulator cannot do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`error` is an HTTP status, `quota` or `context`; `flaky` and `times` bound how often the fault shows.

    One that is `uncorrected` shows until the prompt says why an earlier answer was refused. A streamed answer comes in
    pieces of `piece` characters, 0 for the usual, and `pace` seconds pass after each. Of one that breaks off the share
    `after` comes. `retry_after` becomes the header of that name, `reset_after` only those of the rate limits; seconds.
    """

    role: str | None = None
    latency: float = 0.0
    pace: float = 0.0
    piece: int = 0
    error: str | None = None
    retry_after: float | None = None
    reset_after: float | None = None
    behaviour: Behaviour | None = None
    after: float | None = None
    flaky: int = 0
    times: int | None = None
    uncorrected: bool = False

    @property
    def fails(self) -> bool:
        """Whether the caller gets something else than a good answer."""
        return self.error is not None or self.behaviour is not None

    def applies(self, role: str, *, is_corrected: bool) -> bool:
        return self.role in {None, role} and not (self.uncorrected and is_corrected)

    def __add__(self, other: "Fault") -> "Fault":
        return Fault(
            latency=max(self.latency, other.latency),
            pace=max(self.pace, other.pace),
            piece=self.piece or other.piece,
            error=self.error or other.error,
            retry_after=other.retry_after if self.retry_after is None else self.retry_after,
            reset_after=other.reset_after if self.reset_after is None else self.reset_after,
            behaviour=self.behaviour or other.behaviour,
            after=other.after if self.after is None else self.after,
        )


NO_FAULT = Fault()


def faults_in(text: str) -> tuple[Fault, ...]:
    return tuple(parse_fault(_options(found[1])) for found in _DIRECTIVE.finditer(text))


def without_directives(text: str) -> str:
    return _DIRECTIVE.sub("", text).strip()


def parse_fault(options: Mapping[str, object]) -> Fault:
    """Options as a directive spells them: `{"latency": 2, "role": "router", "hang": True}`."""
    fault = Fault()
    for name, value in options.items():
        fault = _with_option(fault, name, value)
    return fault


def _options(written: str) -> dict[str, object]:
    pairs = (word.partition("=") for word in written.split())
    return {name: value if sign else True for name, sign, value in pairs}


def _with_option(fault: Fault, name: str, value: object) -> Fault:
    if name in set(Behaviour):
        return replace(fault, behaviour=Behaviour(name))
    if name not in _OPTIONS:
        raise UnknownFault(f"unknown simulator directive {name!r}")
    try:
        return replace(fault, **{name: _OPTIONS[name](str(value))})
    except ValueError as error:
        raise UnknownFault(f"simulator directive {name!r} cannot be {value!r}") from error


def _error(value: str) -> str:
    if value in {"quota", "context"} or 400 <= int(value) <= 599:
        return value
    raise ValueError(value)


def _seconds(value: str) -> float:
    return max(0.0, min(float(value), LONGEST_HANG))


def _share(value: str) -> float:
    if 0 <= float(value) < 1:
        return float(value)
    raise ValueError(value)


_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "role": str,
    "error": _error,
    "latency": _seconds,
    "pace": _seconds,
    "piece": lambda value: max(1, int(value)),
    "retry_after": float,
    "reset_after": float,
    "after": _share,
    "flaky": int,
    "times": int,
    "uncorrected": lambda value: value.lower() == "true",
}


class FaultBoard:
    """What this process was told to get wrong, and how often it did."""

    def __init__(self, *, latency: float = 0.0) -> None:
        self._standing = Fault(latency=latency)
        self._orders: list[Fault] = []
        self._seen: OrderedDict[str, int] = OrderedDict()

    def add(self, fault: Fault) -> None:
        self._orders.append(fault)

    def clear(self) -> None:
        self._orders.clear()
        self._seen.clear()

    def due(self, role: str, asked: Iterable[Fault], digest: str, *, is_corrected: bool = False) -> Fault:
        """The sum of what applies to this call; counts it, so ask once per call."""
        total = self._standing
        for fault in asked:
            if fault.applies(role, is_corrected=is_corrected):
                total += self._if_still_flaky(fault, digest)
        for position, fault in enumerate(self._orders):
            if fault.times != 0 and fault.applies(role, is_corrected=is_corrected):
                self._orders[position] = _counted(fault)
                total += self._if_still_flaky(fault, digest)
        return total

    def _if_still_flaky(self, fault: Fault, digest: str) -> Fault:
        if not fault.flaky:
            return fault
        calls = self._seen.pop(digest, 0) + 1
        self._seen[digest] = calls
        if len(self._seen) > _REMEMBERED_CONVERSATIONS:
            self._seen.popitem(last=False)
        if calls > fault.flaky:
            return NO_FAULT
        return fault if fault.behaviour else replace(fault, error=fault.error or "500")


def _counted(fault: Fault) -> Fault:
    return fault if fault.times is None else replace(fault, times=fault.times - 1)
