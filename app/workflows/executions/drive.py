"""One execution in the memory of the process that drives it: the planner's state, and what became of each step."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from app.errors import LeaseLost
from app.jobs.models import Job
from app.workflows.executions.models import ExecutionStatus, Waits
from app.workflows.executions.rendering import is_inline
from app.workflows.executions.spreading import Pace
from app.workflows.places import enclosing
from app.workflows.plan import Plan
from app.workflows.planner import End
from app.workflows.run import Execute, Run
from app.workflows.steps.retrying import is_patient
from app.workflows.view import Ended

MOST_LOGGED = 200
# What the cost of an execution adds up, and what it is called with an attempt.
COSTS: Mapping[str, str] = {
    "usd": "usd",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "total_tokens": "tokens",
    "model_calls": "model_calls",
}


@dataclass(slots=True)
class Tally:
    """Of step instances, and of what their attempts cost."""

    begun: int = 0
    ended: int = 0
    failed: int = 0
    cost: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COSTS, 0))
    charged: dict[str, int] = field(default_factory=dict)

    def add(self, ended: Ended) -> None:
        self.ended += 1
        self.failed += ended.end is End.FAILED

    def charge(self, step: str, attempts: Sequence[Mapping[str, Any]]) -> None:
        """Each of all attempts at a step, named by its id, counts once, however often it is told."""
        for attempt in attempts[self.charged.get(step, 0) :]:
            cost = attempt.get("cost") or {}
            for name, given in COSTS.items():
                self.cost[name] += cost.get(given) or 0
        if attempts:
            self.charged[step] = len(attempts)


class Drive:
    """``light`` and ``work`` may start now: what costs no worker's time, and what does.

    ``away`` are instances that were stored and have not ended, by path, with what they wait for: None for work that
    is queued or runs somewhere else.
    """

    def __init__(self, execution: Job, plan: Plan, run: Run, *, next_seq: int) -> None:
        self.execution = execution
        self.plan = plan
        self.run = run
        self.light: deque[Execute] = deque()
        self.work: deque[Execute] = deque()
        self.away: dict[str, Waits | None] = {}
        self.local: dict[str, str] = {}
        # By id, what was written of a step that ended well here.
        self.finished: dict[str, Mapping[str, Any]] = {}
        # Ids of steps of an earlier series that have not ended, as the kernel had ended that one.
        self.outdated: list[str] = []
        # Paths of what is to be stopped, since the execution was cancelled.
        self.to_stop: set[str] = set()
        self.artifacts: dict[str, dict[str, Any]] = {}
        # Ids of steps that ran beside another driver, which may have marked their ends as heard.
        self.watched: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.news = asyncio.Event()
        self.must_look = False
        # Raises `LeaseLost` when somebody else may drive it: who stood still must not go on as if nobody had.
        self.confirm: Callable[[], Awaitable[None]] = _unheld
        self.is_active = True
        self.is_lent = False
        self.is_paused = False
        self.is_cancelled = False
        self.error: Exception | None = None
        self.pace = Pace()
        self.tally = Tally()
        self.log: list[dict[str, Any]] = list(execution.document.get("log") or [])
        self.known: set[str] = set()
        # When the first instance at or below a path began.
        self.begun: dict[str, datetime] = {}
        self.limits: dict[str, datetime] = {}
        self._next_seq = self._kept_seq = next_seq
        # Of the first lease, as the kernel's own time is that of the last one.
        self._began_at = execution.document.get("started_at")
        self._looked_at = 0

    @property
    def token(self) -> str:
        """Of the lease under which it is driven, or was driven last."""
        return self.execution.lease.token if self.execution.lease else ""

    @property
    def is_over(self) -> bool:
        return self.run.result is not None and not self.tasks

    @property
    def is_busy(self) -> bool:
        return bool(self.tasks) or (not self.is_paused and bool(self.light or self.work))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside; what it raises is raised where the execution is driven."""
        task = asyncio.create_task(self._noting_errors(work))
        self.tasks.add(task)
        task.add_done_callback(self._forget)

    def take_seq(self) -> int:
        """The next place in the execution's order of events."""
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        return seq

    def add(self, commands: Iterable[Execute]) -> None:
        """These may start now."""
        for execute in commands:
            self.tally.begun += 1
            is_light = is_inline(execute.step) or is_patient(execute.step)
            (self.light if is_light else self.work).append(execute)

    def note_begun(self, path: str, at: datetime) -> None:
        for around in enclosing(path):
            self.begun[around] = min(at, self.begun.get(around, at))

    def tell(self, path: str, ended: Ended) -> None:
        """How a step ended that the planner handed out."""
        if path in self.run.running:
            self.tally.add(ended)
        self.away.pop(path, None)
        self.add(self.run.end(path, ended))

    def settled_since(self) -> Iterator[tuple[str, Ended]]:
        """What has ended since the last call without having been handed out: skipped, blocked, or holding others."""
        ends = self.run.ends
        # From behind: most have been looked at.
        fresh = list(islice(reversed(ends.items()), len(ends) - self._looked_at))
        self._looked_at = len(ends)
        return ((path, ended) for path, ended in reversed(fresh) if path not in self.known)

    def drop(self, paths: Iterable[str]) -> list[str]:
        """Take back what may start and was not stored yet; answers what of ``paths`` that was."""
        wanted = set(paths)
        dropped = [execute.path for queue in (self.light, self.work) for execute in queue if execute.path in wanted]
        gone = set(dropped)
        self.light = deque(execute for execute in self.light if execute.path not in gone)
        self.work = deque(execute for execute in self.work if execute.path not in gone)
        return dropped

    def note(self, event: str, at: datetime, **detail: Any) -> None:
        self.log.append({"seq": self.take_seq(), "at": at, "event": event, **detail})
        del self.log[:-MOST_LOGGED]

    def idle_for(self) -> str | None:
        """What a suspended execution waits for, when nothing of it runs."""
        if not self.away or None in self.away.values():
            return None
        if Waits.APPROVAL in self.away.values():
            return ExecutionStatus.AWAITING_APPROVAL.value
        return ExecutionStatus.WAITING.value

    @property
    def is_changed(self) -> bool:
        """Whether anything happened since it was kept last."""
        return self._kept_seq != self._next_seq

    def as_fields(self) -> dict[str, Any]:
        """What is kept of it with the execution, from now on."""
        self._kept_seq = self._next_seq
        tally, percent = self.tally, self.run.progress() * 100
        return {
            "progress": {
                "total": tally.begun + self.run.not_begun,
                "ended": tally.ended,
                "failed": tally.failed,
                "percent": round(percent, 1),
            },
            "cost": {**tally.cost, "usd": round(tally.cost["usd"], 8)},
            "log": list(self.log),
            "last_seq": self._next_seq - 1,
            "begun_at": self.execution.document.get("begun_at") or self._began_at,
        }

    async def _noting_errors(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - kept for whoever drives
            self.error = self.error or error

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self.news.set()


async def _unheld() -> None:
    raise LeaseLost("nobody drives this execution here")
