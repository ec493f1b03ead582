"""What an execution of a workflow costs: chains of steps one after the other, and wide fan-outs with a join."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from app.devstack.stack import API, BROKER, STORE
from tests.bench import figures as rows
from tests.bench.client import quantile, send
from tests.bench.counted_worker import counted_since
from tests.bench.executions import CHAIN, FAN_OUT, ExecutionStore, chain_of, execution_of, fan_out, store_workflow
from tests.bench.figures import NO_RESULTS, OURS, PLAIN, Notebook, Row
from tests.bench.plain_celery import PlainCelery
from tests.bench.plan import Sizes
from tests.bench.stack import COUNTED_WORKER, WORKER, Stack
from tests.bench.usage import UPKEEP_SECONDS, Cost, measured

CHAINS, LENGTH = 50, 10
STEPS = CHAINS * LENGTH
NARROW, WIDE = 200, 2_000
CLIENT = "client"


class Workflows:
    def __init__(self, stack: Stack, plain: PlainCelery, notes: Notebook, sizes: Sizes) -> None:
        self._stack = stack
        self._plain = plain
        self._notes = notes
        self._sizes = sizes
        self._executions = ExecutionStore(stack.ports.store)

    def close(self) -> None:
        self._executions.close()

    def measure(self, say: Callable[[str], None]) -> None:
        """The plain Celery worker runs; at the end the product's worker is a fresh one."""
        for workflow in (chain_of(LENGTH), fan_out()):
            store_workflow(self._stack.ports.api, workflow)
        self._warm_up()
        for number in range(1, self._sizes.rounds + 1):
            say(f"workflows, round {number} of {self._sizes.rounds}: chains, then fan-outs")
            self._measure_chains()
            self._measure_plain_chains()
            self._measure_gaps()
            self._measure_fan_outs()
        say("workflows: store operations")
        self._stack.stop(WORKER)
        self._stack.start(COUNTED_WORKER)
        self._warm_up()
        self._count(STEPS, self._run_chains, rows.OPERATIONS, rows.STATEMENTS)
        self._count(WIDE, lambda: self._run_fan_out(WIDE), rows.WIDE_OPERATIONS, rows.WIDE_STATEMENTS)
        self._stack.stop(COUNTED_WORKER)
        self._stack.start(WORKER)

    def _warm_up(self) -> None:
        self._run(CHAIN, {}, count=1)
        self._run_fan_out(LENGTH)

    def _measure_chains(self) -> None:
        pids = {name: self._stack.pid(name) for name in (API, WORKER, STORE, BROKER)}
        with measured(pids) as cost:
            seconds = self._run_chains()
            time.sleep(UPKEEP_SECONDS)
        self._notes.note(rows.CHAIN_RATE, STEPS / seconds)
        self._note_cpu(OURS, cost, API)
        self._notes.note(rows.CPU_STEP_STORE, cost.per_unit(STORE, STEPS))

    def _measure_plain_chains(self) -> None:
        for column, run in ((PLAIN, self._plain.chains), (NO_RESULTS, self._plain.chains_without_results)):
            pids = {CLIENT: os.getpid(), WORKER: self._plain.worker_pid, BROKER: self._stack.pid(BROKER)}
            with measured(pids) as cost:
                seconds = run(CHAINS, LENGTH)
            self._notes.note(rows.CHAIN_RATE, STEPS / seconds, column)
            self._note_cpu(column, cost, CLIENT)
        self._note_ratio(rows.CHAIN_RATIO, rows.CHAIN_RATE)

    def _note_cpu(self, column: str, cost: Cost, front: str) -> None:
        for row, name in (
            (rows.CPU_STEP_API, front),
            (rows.CPU_STEP_WORKER, WORKER),
            (rows.CPU_STEP_BROKER, BROKER),
        ):
            self._notes.note(row, cost.per_unit(name, STEPS), column)

    def _measure_gaps(self) -> None:
        """Chains one after the other, so that no step waits for a step of another one."""
        began_at, count = datetime.now(UTC), self._sizes.chains
        send(self._stack.ports.api, execution_of(CHAIN, {}, wait=True), count=count, connections=1, completed=True)
        self._note_gaps(self._executions.gaps(since=began_at))
        self._note_gaps([gap for _ in range(count) for gap in self._plain.gaps(LENGTH)], PLAIN)

    def _note_gaps(self, seconds: list[float], column: str = OURS) -> None:
        self._notes.note(rows.GAP_P50, quantile(seconds, 0.5) * 1000, column)
        self._notes.note(rows.GAP_P99, quantile(seconds, 0.99) * 1000, column)

    def _measure_fan_outs(self) -> None:
        for _ in range(self._sizes.fan_outs):
            self._notes.note(rows.NARROW, self._run_fan_out(NARROW))
            self._notes.note(rows.NARROW, self._plain.fan_out(NARROW), PLAIN)
        self._note_ratio(rows.NARROW_RATIO, rows.NARROW)
        with measured({name: self._stack.pid(name) for name in (WORKER, STORE)}) as cost:
            self._notes.note(rows.WIDE, self._run_fan_out(WIDE))
        self._notes.note(rows.WIDE, self._plain.fan_out(WIDE), PLAIN)
        self._note_ratio(rows.WIDE_RATIO, rows.WIDE)
        for column in (OURS, PLAIN):
            self._notes.note(rows.WIDENING, self._last(rows.WIDE, column) / self._last(rows.NARROW, column), column)
        self._notes.note(rows.CPU_WIDE_WORKER, cost.per_unit(WORKER, WIDE))
        self._notes.note(rows.CPU_WIDE_STORE, cost.per_unit(STORE, WIDE))

    def _note_ratio(self, ratio: Row, row: Row) -> None:
        self._notes.note(ratio, self._last(row, OURS) / self._last(row, PLAIN))

    def _last(self, row: Row, column: str) -> float:
        return self._notes.values[row][column][-1]

    def _count(self, steps: int, run: Callable[[], object], operations: Row, statements: Row) -> None:
        begin = self._stack.commands.stat().st_size
        run()
        counted = counted_since(self._stack.commands, begin)
        self._notes.note(operations, counted.commands / steps)
        self._notes.note(statements, counted.statements / steps)

    def _run_chains(self) -> float:
        return self._run(CHAIN, {}, count=CHAINS)

    def _run_fan_out(self, width: int) -> float:
        return self._run(FAN_OUT, {"items": list(range(width))}, count=1)

    def _run(self, workflow: str, inputs: Mapping[str, object], *, count: int) -> float:
        """Seconds from the first request to the end of the last execution."""
        request, connections = execution_of(workflow, inputs), min(self._sizes.connections, count)
        load = send(self._stack.ports.api, request, count=count, connections=connections)
        return self._executions.await_end(since=load.began_at)
