"""What processes hold on to while they work: memory, descriptors, bytes on disk; and how fast that grows."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from tests.chaos.repeating import Repeating

MEGABYTE = 2**20
PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """``progress`` is the number of tasks done by then; ``values`` are by name, memory in megabytes."""

    progress: float
    values: Mapping[str, float]


class Sampler(Repeating):
    """Takes samples again and again."""

    def __init__(self, take: Callable[[], Sample], *, pause: float = PAUSE) -> None:
        super().__init__("chaos-sampler", pause=pause)
        self.samples: list[Sample] = []
        self._take = take

    def look(self) -> None:
        self.samples.append(self._take())


def held_by(name: str, pid: int) -> dict[str, float]:
    process = psutil.Process(pid)
    return {f"{name} MB": process.memory_info().rss / MEGABYTE, f"{name} descriptors": float(process.num_fds())}


def growth(samples: Sequence[Sample], name: str, *, per: float) -> float:
    """The slope of a line through the samples (least squares), for so much progress."""
    line = statistics.linear_regression([one.progress for one in samples], [one.values[name] for one in samples])
    return line.slope * per
