"""What processes consume: CPU time, memory, and how much of the machine somebody else was using meanwhile."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

MEMORY_PAUSE = 0.2
# Roll-ups and the assistant's messages follow the last job; their cost belongs to the jobs.
UPKEEP_SECONDS = 2.0
MEGABYTE = 2**20


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@dataclass(slots=True)
class Cost:
    """CPU seconds by process name, filled in when the measured block ends."""

    seconds: dict[str, float]
    elapsed: float = 0.0
    elsewhere: float = 0.0

    def per_unit(self, name: str, units: int) -> float:
        """Milliseconds of CPU."""
        return self.seconds[name] * 1000 / units


@contextlib.contextmanager
def measured(pids: Mapping[str, int]) -> Iterator[Cost]:
    """The CPU time of the processes, and `elsewhere` the cores that nobody of them was using."""
    cost = Cost({})
    before, busy, began = _cpu_of(pids), _machine_busy(), time.monotonic()
    yield cost
    after, cost.elapsed = _cpu_of(pids), time.monotonic() - began
    cost.seconds = {name: after[name] - before[name] for name in pids}
    cost.elsewhere = max(_machine_busy() - busy - sum(cost.seconds.values()), 0.0) / cost.elapsed


def idle_percent(pids: Mapping[str, int], seconds: float) -> dict[str, float]:
    """Percent of one core each process uses while nothing happens."""
    with measured(pids) as cost:
        time.sleep(seconds)
    return {name: used * 100 / cost.elapsed for name, used in cost.seconds.items()}


@dataclass(slots=True)
class PeakMemory:
    """Megabytes: resident, and proportional (shared pages counted once among those who share them)."""

    rss: float = 0.0
    pss: float = 0.0

    def look(self, process: psutil.Process) -> None:
        memory = process.memory_full_info()
        self.rss = max(self.rss, memory.rss / MEGABYTE)
        self.pss = max(self.pss, memory.pss / MEGABYTE)


@contextlib.contextmanager
def peak_memory(pid: int) -> Iterator[PeakMemory]:
    peak, process, stopping = PeakMemory(), psutil.Process(pid), threading.Event()

    def watch() -> None:
        while not stopping.wait(MEMORY_PAUSE):
            peak.look(process)

    watcher = threading.Thread(target=watch, name="peak-memory", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stopping.set()
        watcher.join()
        peak.look(process)


def _cpu_of(pids: Mapping[str, int]) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def _machine_busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
