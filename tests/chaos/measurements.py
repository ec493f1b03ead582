"""What the scenarios measured, one JSON line each, and the table of it."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class Losses:
    """Names of what is counted, not timed."""

    LOST = "accepted tasks lost"
    DUPLICATES = "duplicates refused"
    STALE = "stale writes refused"


KILL_TO_RESUMED = "kill → resumed"
TERM_TO_EXIT = "SIGTERM → exit"
CANCEL_TO_STOPPED = "cancel → stopped"
BROKER_TO_START = "broker back → first start"
STORE_TO_START = "store back → first start"
STORE_TO_STOPPED = "store lost → last sign of a task"
PROVIDER_TO_ANSWER = "provider back → first answer"
DUE_TO_CLAIM = "timer due → claimed"
SMALL_TO_START = "small tenant: stored → started"
COUNTS = (Losses.DUPLICATES, Losses.STALE, Losses.LOST)


@dataclass(frozen=True, slots=True)
class Measurements:
    """Appends to one file; several tests and processes may."""

    path: Path

    def time(self, name: str, seconds: Iterable[float], *, scenario: str) -> None:
        self._append([{"name": name, "scenario": scenario, "seconds": value} for value in seconds])

    def count(self, name: str, number: int, *, scenario: str) -> None:
        self._append([{"name": name, "scenario": scenario, "count": number}])

    def figure(self, name: str, value: float, unit: str, *, scenario: str) -> None:
        """Neither a time nor a count: a rate, a slope, a size."""
        self._append([{"name": name, "scenario": scenario, "value": value, "unit": unit}])

    def table(self) -> list[str]:
        """Lines of text; none when nothing was measured."""
        if not self.path.exists():
            return []
        return render([json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()])

    def _append(self, lines: Sequence[Mapping[str, object]]) -> None:
        if lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))


def render(lines: Iterable[Mapping[str, object]]) -> list[str]:
    """``name  n  p50  p99  max`` for what was timed, ``name  sum`` for what was counted, each other figure as it is."""
    times: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    figures: list[str] = []
    for line in lines:
        if "seconds" in line:
            times[str(line["name"])].append(float(str(line["seconds"])))
        elif "value" in line:
            figures.append(f"{line['name']:<40}{line['value']:>12,.1f} {line['unit']}   ({line['scenario']})")
        else:
            counts[str(line["name"])] += int(str(line["count"]))
    timed = [
        f"{name:<40}{len(values):>6} times   p50 {statistics.median(values):7.3f} s   "
        f"p99 {quantile(values, 0.99):7.3f} s   max {max(values):7.3f} s"
        for name, values in sorted(times.items())
    ]
    return timed + [f"{name:<40}{number:>6}" for name, number in sorted(counts.items())] + figures


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
