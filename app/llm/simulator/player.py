"""A scenario while it runs: what it does to each call.

Chance is drawn from the seed, the rule's name, the prompt's digest and how often that prompt was sent before. So the
same seed and the same requests give the same faults, whatever the order in which requests of different prompts arrive.
Bursts follow the clock, and `limit` the order of arrival.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.llm.simulator.chance import draw
from app.llm.simulator.faults import NO_FAULT, Fault
from app.llm.simulator.scenario import Asked, Effect, Rule, Scenario

REMEMBERED_PROMPTS = 10_000
_ASKED = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a call, and which rules said so."""

    fault: Fault
    rules: tuple[str, ...] = ()


class Player:
    """``clock`` counts seconds. Remembers the last `REMEMBERED_PROMPTS` prompts; an older one is new again."""

    def __init__(self, scenario: Scenario, *, seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.scenario = scenario
        self.seed = seed
        self._clock = clock
        self._began = clock()
        self._fired: Counter[str] = Counter()
        self._prompts: OrderedDict[str, Counter[str]] = OrderedDict()

    def due(self, asked: Asked, digest: str) -> Verdict:
        """Counts the call, so ask once per call. Of several rules that make a call fail, the first one does."""
        elapsed = self._clock() - self._began
        counts = self._counts_of(digest)
        total, fired = NO_FAULT, []
        for rule in self.scenario.rules:
            if (total.fails and rule.then.fails) or not self._shows(rule, asked, digest, elapsed):
                continue
            fired.append(rule.name)
            self._fired[rule.name] += 1
            chance = draw(self.seed, rule.name, digest, counts[_ASKED], "latency")
            counts[rule.name] += 1
            total += _fault_of(rule.then, chance)
        counts[_ASKED] += 1
        return Verdict(total, tuple(fired))

    def report(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario.model_dump(mode="json", exclude_none=True),
            "seed": self.seed,
            "elapsed_sec": round(self._clock() - self._began, 3),
            "fired": {rule.name: self._fired[rule.name] for rule in self.scenario.rules},
        }

    def _shows(self, rule: Rule, asked: Asked, digest: str, elapsed: float) -> bool:
        counts = self._prompts[digest]
        return (
            rule.match.covers(asked)
            and (rule.burst is None or rule.burst.is_on(elapsed))
            and (rule.limit is None or self._fired[rule.name] < rule.limit)
            and (rule.limit_per_prompt is None or counts[rule.name] < rule.limit_per_prompt)
            and draw(self.seed, rule.name, digest, counts[_ASKED]) < rule.probability
        )

    def _counts_of(self, digest: str) -> Counter[str]:
        counts = self._prompts.pop(digest, None) or Counter()
        self._prompts[digest] = counts
        if len(self._prompts) > REMEMBERED_PROMPTS:
            self._prompts.popitem(last=False)
        return counts


def _fault_of(effect: Effect, chance: float) -> Fault:
    return Fault(
        latency=effect.latency.at(chance) if effect.latency else 0.0,
        error=None if effect.error is None else str(effect.error),
        retry_after=effect.retry_after,
        reset_after=effect.reset_after,
        behaviour=effect.answer,
        after=effect.after,
        pace=effect.pace,
    )
