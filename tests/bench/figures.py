"""One line of the report: a number of ours beside its target and the floor."""

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured. A target is a limit, or with ``at_least`` a floor."""

    name: str
    unit: str
    target: float | None = None
    at_least: bool = False

    def is_met(self, value: float) -> bool | None:
        if self.target is None:
            return None
        return value >= self.target if self.at_least else value <= self.target


ACCEPT_RATE = Row("execute: accepted, worker not running", "req/s")
ACCEPT_P50 = Row("execute: p50, worker not running", "ms")
ACCEPT_P99 = Row("execute: p99, worker not running", "ms")
DRAIN_RATE = Row("no-op tasks drained from a full queue", "tasks/s")
LATENCY_P50 = Row("POST to final state, one at a time: p50", "ms", 10)
LATENCY_P99 = Row("POST to final state, one at a time: p99", "ms")
BUSY_ACCEPT_RATE = Row("execute: accepted while the worker works", "req/s")
BUSY_ACCEPT_P99 = Row("execute: p99 while the worker works", "ms")
TASK_RATE = Row("no-op tasks end to end", "tasks/s", 300, at_least=True)
CPU_API = Row("CPU per no-op task: API (floor: the client)", "ms")
CPU_WORKER = Row("CPU per no-op task: worker", "ms")
CPU_BOTH = Row("CPU per no-op task: API + worker", "ms", 4)
CPU_STORE = Row("CPU per no-op task: embedded store", "ms")
CPU_BROKER = Row("CPU per no-op task: broker", "ms")
MAKESPAN = Row("calls of 2 s at once: makespan", "s", 3.2)
CPU_CALL = Row("calls of 2 s at once: CPU of the worker per call", "ms")
NAPS = Row("the floor with sleeps instead of calls", "s")
RSS = Row("calls of 2 s at once: peak RSS of the worker", "MB", 200)
PSS = Row("calls of 2 s at once: peak PSS of the worker", "MB")
FIRST_TOKEN_P50 = Row("POST to the first token, one at a time: p50", "ms")
FIRST_TOKEN_P99 = Row("POST to the first token, one at a time: p99", "ms")
DIRECT_TOKEN_P50 = Row("first token of the simulator asked directly: p50", "ms")
DIRECT_TOKEN_P99 = Row("first token of the simulator asked directly: p99", "ms")
ADDED_P50 = Row("first token: added by us, p50", "ms")
ADDED_P99 = Row("first token: added by us, p99", "ms")
ROUTING = Row("routing: overhead without the model's time, p50", "ms")
CPU_TOKEN_WORKER = Row("CPU per streamed token: worker", "us")
CPU_TOKEN_API = Row("CPU per streamed token: API, with a follower", "us")
STREAMS = Row("streams at once in one worker", "", 500, at_least=True)
STREAMS_FIRST_P50 = Row("streams at once: POST to the first token, p50", "s")
STREAMS_RSS = Row("streams at once: peak RSS of the worker", "MB")
STREAMS_PSS = Row("streams at once: peak PSS of the worker", "MB")
STREAMS_RSS_API = Row("streams at once: peak RSS of the API, each followed", "MB")
CHAIN_RATE = Row("steps of 50 chains of 10 no-op steps at once", "steps/s")
CHAIN_RATIO = Row("steps of 50 chains: times plain Celery's", "", 2, at_least=True)
CPU_STEP_API = Row("CPU per no-op step of 50 chains: API (floor: the client)", "ms")
CPU_STEP_WORKER = Row("CPU per no-op step of 50 chains: worker", "ms")
CPU_STEP_STORE = Row("CPU per no-op step of 50 chains: embedded store", "ms")
CPU_STEP_BROKER = Row("CPU per no-op step of 50 chains: broker", "ms")
OPERATIONS = Row("store operations per step of 50 chains", "", 3)
STATEMENTS = Row("statements in them per step", "")
GAP_P50 = Row("from one step of a chain to the next: p50", "ms")
GAP_P99 = Row("from one step of a chain to the next: p99", "ms")
NARROW = Row("200 no-op steps at once and a join", "s")
NARROW_RATIO = Row("200 steps at once: by plain Celery's time", "", 0.3)
WIDE = Row("2,000 no-op steps at once and a join", "s")
WIDE_RATIO = Row("2,000 steps at once: by plain Celery's time", "")
WIDENING = Row("2,000 steps at once: by the time of 200", "", 11)
CPU_WIDE_WORKER = Row("CPU per no-op step of 2,000 at once: worker", "ms")
CPU_WIDE_STORE = Row("CPU per no-op step of 2,000 at once: embedded store", "ms")
WIDE_OPERATIONS = Row("store operations per step of 2,000 at once", "", 3)
WIDE_STATEMENTS = Row("statements in these per step", "")
API_READY = Row("API ready after its start", "s", 3)
WORKER_READY = Row("worker ready after its start", "s")
PLANNER_TARGET = 50.0
POLICY_TARGET = 100.0
IDLE = "idle CPU: "
IDLE_TARGET = 1.0
ELSEWHERE = Row("cores used by other programs during the no-op runs", "cores")

OURS, PLAIN, NO_RESULTS = "ours", "plain", "no_results"


def idle_row(process: str) -> Row:
    return Row(f"{IDLE}{process}", "%", IDLE_TARGET)


def policy_row(rules: int) -> Row:
    return Row(f"policy: CPU per decision by {rules} rules", "us", POLICY_TARGET)


def planner_row(steps: int) -> Row:
    return Row(f"planner: CPU per finished step of {steps}", "us", PLANNER_TARGET)


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians over the rounds; None where the column has no such number."""

    row: Row
    ours: float | None
    plain: float | None
    no_results: float | None

    @property
    def is_met(self) -> bool | None:
        return None if self.ours is None else self.row.is_met(self.ours)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self.row), "ours": self.ours, "plain": self.plain, "no_results": self.no_results}


@dataclass(slots=True)
class Notebook:
    """Collects the numbers of every round, in the order in which the rows first appear; what they were disturbed by
    comes last."""

    values: dict[Row, dict[str, list[float]]] = field(default_factory=dict)

    def note(self, row: Row, value: float, column: str = OURS) -> None:
        self.values.setdefault(row, defaultdict(list))[column].append(value)

    def figures(self) -> list[Figure]:
        return [
            Figure(row, *(median(columns[name]) if columns.get(name) else None for name in (OURS, PLAIN, NO_RESULTS)))
            for row, columns in sorted(self.values.items(), key=lambda item: item[0] == ELSEWHERE)
        ]

    def rounds(self) -> dict[str, dict[str, list[float]]]:
        return {row.name: dict(columns) for row, columns in self.values.items()}
