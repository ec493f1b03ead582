"""What processes hold on to while they work: memory, descriptors, bytes on disk; and how fast that grows."""

import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

MEGABYTE = 2**20
PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """``progress`` is the number of tasks done by then; ``values`` are by name, memory in megabytes."""

    progress: float
    values: Mapping[str, float]


class Sampler:
    """Looks again and again from a thread of its own, from entering to leaving."""

    def __init__(self, look: Callable[[], Sample], *, pause: float = PAUSE) -> None:
        self.samples: list[Sample] = []
        self._look = look
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="chaos-sampler", daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _watch(self) -> None:
        while not self._over.wait(self._pause):
            self.samples.append(self._look())


def held_by(name: str, pid: int) -> dict[str, float]:
    process = psutil.Process(pid)
    return {f"{name} MB": process.memory_info().rss / MEGABYTE, f"{name} descriptors": float(process.num_fds())}


def growth(samples: Sequence[Sample], name: str, *, per: float) -> float:
    """The slope of a line through the samples (least squares), for so much progress."""
    line = statistics.linear_regression([one.progress for one in samples], [one.values[name] for one in samples])
    return line.slope * per
