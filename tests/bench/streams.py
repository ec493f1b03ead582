"""What streaming costs: until the first token, per token, and in memory; and what routing costs beside the model."""

from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median

import uvloop

from app.devstack.stack import API
from tests.bench import figures as rows
from tests.bench.client import quantile
from tests.bench.figures import Notebook
from tests.bench.followers import FUNCTION, code_question, connected, follow_at_once, routing_question, streamed
from tests.bench.plan import Sizes
from tests.bench.stack import WORKER, Stack, TaskStore
from tests.bench.usage import Cost, measured, peak_memory

# About as long as each other: an answer in tokens of four characters, and one in a single piece.
IN_TOKENS, IN_ONE_PIECE = "[[sim piece=4 pace=0.04]]", "[[sim piece=100000 pace=0.8]]"
# Long enough that the last of 500 begins before the first has ended.
LONG = "[[sim piece=16 pace=0.8]]"
MICROSECONDS = 1e6


class Streams:
    def __init__(self, stack: Stack, tasks: TaskStore, notes: Notebook, sizes: Sizes) -> None:
        self._stack = stack
        self._tasks = tasks
        self._notes = notes
        self._sizes = sizes

    def measure(self) -> None:
        began_at = datetime.now(UTC)
        self._measure_first_tokens()
        self._measure_routing()
        self._measure_cpu()
        self._measure_at_once()
        self._tasks.refuse_failures(since=began_at)

    def _measure_first_tokens(self) -> None:
        ours, direct = uvloop.run(self._first_tokens(self._sizes.first_tokens))
        usual = median(direct)
        added = [seconds - usual for seconds in ours]
        for values, p50, p99 in (
            (ours, rows.FIRST_TOKEN_P50, rows.FIRST_TOKEN_P99),
            (direct, rows.DIRECT_TOKEN_P50, rows.DIRECT_TOKEN_P99),
            (added, rows.ADDED_P50, rows.ADDED_P99),
        ):
            self._notes.note(p50, quantile(values, 0.5) * 1000)
            self._notes.note(p99, quantile(values, 0.99) * 1000)

    async def _first_tokens(self, count: int) -> tuple[list[float], list[float]]:
        """Of tasks and of the simulator in turns, so that what disturbs the machine disturbs both."""
        ours: list[float] = []
        direct: list[float] = []
        question = code_question()
        async with connected(self._stack.ports.api) as follower, connected(self._stack.ports.simulator) as asking:
            await follower.follow(streamed())
            for _ in range(count):
                ours.append(await follower.follow(streamed()))
                direct.append(await asking.ask(question))
        return ours, direct

    def _measure_routing(self) -> None:
        rounds = uvloop.run(self._routed_named_and_asked(self._sizes.first_tokens))
        routed, named, asked = (median(column) for column in zip(*rounds, strict=True))
        self._notes.note(rows.ROUTING, (routed - named - asked) * 1000)

    async def _routed_named_and_asked(self, count: int) -> list[tuple[float, float, float]]:
        """Seconds of a task with routing, of the same without, and of the model that routes."""
        question = routing_question()
        async with connected(self._stack.ports.api) as api, connected(self._stack.ports.simulator) as model:
            return [
                (await api.run({"task": FUNCTION}), await api.run(streamed()), await model.ask_whole(question))
                for _ in range(count)
            ]

    def _measure_cpu(self) -> None:
        count = self._sizes.followed
        extra_pieces = count * (uvloop.run(self._count_pieces()) - 1)
        spoken, whole = self._cost_of(streamed(IN_TOKENS)), self._cost_of(streamed(IN_ONE_PIECE))
        for row, part in ((rows.CPU_TOKEN_WORKER, WORKER), (rows.CPU_TOKEN_API, API)):
            seconds = spoken.seconds[part] - whole.seconds[part]
            self._notes.note(row, seconds * MICROSECONDS / extra_pieces)

    async def _count_pieces(self) -> int:
        async with connected(self._stack.ports.simulator) as asking:
            return await asking.count_pieces(code_question("[[sim piece=4]]"))

    def _cost_of(self, task: Mapping[str, object]) -> Cost:
        pids = {name: self._stack.pid(name) for name in (WORKER, API)}
        with measured(pids) as cost:
            self._follow_at_once(task, self._sizes.followed)
        return cost

    def _measure_at_once(self) -> None:
        began_at = datetime.now(UTC)
        with peak_memory(self._stack.pid(WORKER)) as worker, peak_memory(self._stack.pid(API)) as api:
            first = self._follow_at_once(streamed(LONG), self._sizes.waiting)
        self._notes.note(rows.STREAMS, self._tasks.most_at_once(since=began_at))
        self._notes.note(rows.STREAMS_FIRST_P50, quantile(first, 0.5))
        self._notes.note(rows.STREAMS_RSS, worker.rss)
        self._notes.note(rows.STREAMS_PSS, worker.pss)
        self._notes.note(rows.STREAMS_RSS_API, api.rss)

    def _follow_at_once(self, task: Mapping[str, object], count: int) -> list[float]:
        submitting = self._sizes.waiting_connections
        return uvloop.run(follow_at_once(self._stack.ports.api, task, count, submitting=submitting))
