"""The measurements, in the order in which they disturb each other least."""

import os
import time
from collections.abc import Callable
from datetime import datetime

from app.devstack.stack import API, BROKER, SIMULATOR, STORE
from tests.bench import figures as rows
from tests.bench.client import CODE_CALL, NO_OP, Load, quantile, submit
from tests.bench.figures import NO_RESULTS, PLAIN, Notebook
from tests.bench.plain_celery import PlainCelery
from tests.bench.plan import Sizes
from tests.bench.planner import microseconds_per_step
from tests.bench.policies import microseconds_per_decision
from tests.bench.process import BenchFailed
from tests.bench.stack import WORKER, Stack, TaskStore
from tests.bench.streams import Streams
from tests.bench.usage import UPKEEP_SECONDS, Cost, idle_percent, measured, peak_memory
from tests.bench.workflows import Workflows

PATIENCE = 60.0
LOOK_PAUSE = 0.05
NAP_SECONDS = 2.0
WARM_UP = 50
CLIENT = "client"
WORKFLOW_STEPS = (10, 1_000, 10_000)
POLICY_RULES = (10, 100)


class Bench:
    def __init__(self, stack: Stack, tasks: TaskStore, plain: PlainCelery, sizes: Sizes) -> None:
        self._stack = stack
        self._tasks = tasks
        self._plain = plain
        self._sizes = sizes
        self.notes = Notebook()

    def run(self, say: Callable[[str], None]) -> None:
        say("planner")
        self._measure_planner()
        say("policy")
        self._measure_policy()
        say("start: broker, store, simulator, API")
        self._stack.start(BROKER, STORE, SIMULATOR)
        self.notes.note(rows.API_READY, self._stack.start(API))
        say("accept: POST execute without a worker, then start the worker and drain")
        self._measure_accepting()
        say("idle")
        self._measure_idle()
        self._plain.start(self._sizes.plain_threads)
        for number in range(1, self._sizes.rounds + 1):
            say(f"no-op tasks, round {number} of {self._sizes.rounds}: one at a time, then all at once")
            self._measure_latency()
            self._measure_throughput()
            self._measure_plain_throughput()
        self._measure_workflows(say)
        self._plain.stop()
        self._plain.start(self._sizes.waiting)
        for number in range(1, self._sizes.rounds + 1):
            say(f"{self._sizes.waiting} calls of 2 s, round {number} of {self._sizes.rounds}")
            self._measure_waiting()
            self._measure_plain_waiting()
        self._plain.stop()
        streams = Streams(self._stack, self._tasks, self.notes, self._sizes)
        for number in range(1, self._sizes.rounds + 1):
            say(f"streams, round {number} of {self._sizes.rounds}: one at a time, then {self._sizes.waiting} at once")
            streams.measure()

    def _measure_workflows(self, say: Callable[[str], None]) -> None:
        workflows = Workflows(self._stack, self._plain, self.notes, self._sizes)
        try:
            workflows.measure(say)
        finally:
            workflows.close()

    def _measure_planner(self) -> None:
        for _ in range(self._sizes.rounds):
            for steps in WORKFLOW_STEPS:
                self.notes.note(rows.planner_row(steps), microseconds_per_step(steps))

    def _measure_policy(self) -> None:
        for _ in range(self._sizes.rounds):
            for rules in POLICY_RULES:
                self.notes.note(rows.policy_row(rules), microseconds_per_decision(rules))

    def _measure_accepting(self) -> None:
        self._execute(WARM_UP)
        load = self._execute(self._sizes.accepted)
        self.notes.note(rows.ACCEPT_RATE, load.rate)
        self.notes.note(rows.ACCEPT_P50, load.quantile(0.5))
        self.notes.note(rows.ACCEPT_P99, load.quantile(0.99))
        self.notes.note(rows.WORKER_READY, self._stack.start(WORKER))
        began = time.monotonic()
        self._await_end(load.began_at)
        self.notes.note(rows.DRAIN_RATE, (self._sizes.accepted + WARM_UP) / (time.monotonic() - began))

    def _measure_idle(self) -> None:
        time.sleep(UPKEEP_SECONDS)
        for name, percent in idle_percent(self._stack.pids, self._sizes.idle_seconds).items():
            self.notes.note(rows.idle_row(name), percent)

    def _measure_latency(self) -> None:
        count = self._sizes.one_by_one
        load = submit(self._stack.ports.api, NO_OP, count=count, connections=1, wait=True)
        self._note_latency(load.latencies)
        self._note_latency(self._plain.one_by_one(count), PLAIN)

    def _note_latency(self, seconds: list[float], column: str = rows.OURS) -> None:
        self.notes.note(rows.LATENCY_P50, quantile(seconds, 0.5) * 1000, column)
        self.notes.note(rows.LATENCY_P99, quantile(seconds, 0.99) * 1000, column)

    def _measure_throughput(self) -> None:
        count = self._sizes.tasks
        with measured({**self._stack.pids, CLIENT: os.getpid()}) as cost:
            load = self._execute(count)
            self._await_end(load.began_at)
            time.sleep(UPKEEP_SECONDS)
        self._tasks.refuse_failures(since=load.began_at)
        self.notes.note(rows.TASK_RATE, count / self._makespan(load))
        self.notes.note(rows.BUSY_ACCEPT_RATE, load.rate)
        self.notes.note(rows.BUSY_ACCEPT_P99, load.quantile(0.99))
        self._note_cpu(rows.OURS, count, cost, API, WORKER)
        self.notes.note(rows.CPU_STORE, cost.per_unit(STORE, count))
        self.notes.note(rows.ELSEWHERE, cost.elsewhere)

    def _measure_plain_throughput(self) -> None:
        count = self._sizes.tasks
        for column, run in ((PLAIN, self._plain.with_results), (NO_RESULTS, self._plain.without_results)):
            pids = {CLIENT: os.getpid(), WORKER: self._plain.worker_pid, BROKER: self._stack.pid(BROKER)}
            with measured(pids) as cost:
                seconds = run(count)
            self.notes.note(rows.TASK_RATE, count / seconds, column)
            self._note_cpu(column, count, cost, CLIENT, WORKER)

    def _note_cpu(self, column: str, count: int, cost: Cost, front: str, worker: str) -> None:
        both = cost.per_unit(front, count) + cost.per_unit(worker, count)
        self.notes.note(rows.CPU_API, cost.per_unit(front, count), column)
        self.notes.note(rows.CPU_WORKER, cost.per_unit(worker, count), column)
        self.notes.note(rows.CPU_BOTH, both, column)
        self.notes.note(rows.CPU_BROKER, cost.per_unit(BROKER, count), column)

    def _measure_waiting(self) -> None:
        # The first call of an agent imports what it needs; that is the start-up's cost, not a call's.
        submit(self._stack.ports.api, {**CODE_CALL, "task": "Reverse a string."}, count=1, connections=1, wait=True)
        count, connections = self._sizes.waiting, self._sizes.waiting_connections
        worker = self._stack.pid(WORKER)
        with peak_memory(worker) as peak, measured({WORKER: worker}) as cost:
            load = submit(self._stack.ports.api, CODE_CALL, count=count, connections=connections)
            self._await_end(load.began_at)
        self._tasks.refuse_failures(since=load.began_at)
        self.notes.note(rows.MAKESPAN, self._makespan(load))
        self.notes.note(rows.CPU_CALL, cost.per_unit(WORKER, count))
        self.notes.note(rows.RSS, peak.rss)
        self.notes.note(rows.PSS, peak.pss)

    def _measure_plain_waiting(self) -> None:
        count, worker = self._sizes.waiting, self._plain.worker_pid
        with peak_memory(worker) as peak, measured({WORKER: worker}) as cost:
            seconds = self._plain.calls(count, self._stack.ports.simulator)
        self.notes.note(rows.MAKESPAN, seconds, PLAIN)
        self.notes.note(rows.CPU_CALL, cost.per_unit(WORKER, count), PLAIN)
        self.notes.note(rows.RSS, peak.rss, PLAIN)
        self.notes.note(rows.PSS, peak.pss, PLAIN)
        self.notes.note(rows.NAPS, self._plain.naps(count, NAP_SECONDS), PLAIN)

    def _execute(self, count: int) -> Load:
        return submit(self._stack.ports.api, NO_OP, count=count, connections=self._sizes.connections)

    def _await_end(self, since: datetime) -> None:
        until = time.monotonic() + PATIENCE
        while self._tasks.has_open_tasks():
            if time.monotonic() > until:
                raise BenchFailed(f"tasks accepted since {since} did not end in time")
            time.sleep(LOOK_PAUSE)

    def _makespan(self, load: Load) -> float:
        return (self._tasks.last_completion(since=load.began_at) - load.began_at).total_seconds()
