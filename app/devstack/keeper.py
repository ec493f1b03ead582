"""Keeps one part alive: starts it, says when it is ready, starts it again when it dies, and stops it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from app.devstack.child import Child
from app.devstack.notices import Died, Notice, Ready, Started, Stopped
from app.devstack.part import Answers, Part, Probe, Says
from app.devstack.restart import GiveUp, RestartPolicy, deaths_in_row, decide
from app.errors import OrchestratorError

_PROBE_EVERY = 0.03
_NOT_STARTED = 127
Spawn = Callable[[Part], Awaitable[Child]]
Notify = Callable[[Notice], None]


class StartFailed(OrchestratorError):
    code = "START_FAILED"
    title = "A part of the stack did not start"


class Keeper:
    def __init__(self, part: Part, *, spawn: Spawn, notify: Notify, policy: RestartPolicy) -> None:
        self.part = part
        self.ready = asyncio.Event()
        self.child: Child | None = None
        self._spawn = spawn
        self._notify = notify
        self._policy = policy
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, timeout: timedelta) -> None:
        """Return when the part is ready; raise `StartFailed` when it keeps dying or takes longer than the timeout."""
        self._task = asyncio.create_task(self._keep())
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait({self._task, ready}, timeout=timeout.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self.ready.is_set():
            return
        if self._task.done():
            self._task.result()
        else:
            what = f"{self.part.name} was not ready in {timeout.total_seconds():.0f} s"
            raise StartFailed(_told(what, self.child.last_lines if self.child else ()))

    async def stop(self, hurry: asyncio.Event) -> None:
        """SIGTERM; SIGKILL to the whole group when the grace is over or somebody is in a hurry."""
        self._stopping.set()
        if self._task is None:
            return
        if self.child is not None:
            self.child.terminate()
        killed = await self._overstays(self._task, hurry)
        if killed and self.child is not None:
            self.child.kill()
        await asyncio.gather(self._task, return_exceptions=True)
        self._notify(Stopped(self.part.name, killed))

    async def _overstays(self, task: asyncio.Task[None], hurry: asyncio.Event) -> bool:
        hurried = asyncio.create_task(hurry.wait())
        grace = self.part.grace.total_seconds()
        await asyncio.wait({task, hurried}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        return not task.done()

    async def _keep(self) -> None:
        deaths = 0
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            born = clock()
            exit_code, last_lines = await self._live()
            deaths = deaths_in_row(self._policy, before=deaths, lived=timedelta(seconds=clock() - born))
            if not self._stopping.is_set():
                await self._recover(exit_code, last_lines, deaths)

    async def _live(self) -> tuple[int, Sequence[str]]:
        """One life of the part: how it ended and what it said last."""
        try:
            self.child = child = await self._spawn(self.part)
        except OSError as error:
            return _NOT_STARTED, (str(error),)
        self._notify(Started(self.part.name, child.pid))
        if self._stopping.is_set():
            child.terminate()
        return await self._attend(child), child.last_lines

    async def _attend(self, child: Child) -> int:
        announcement = asyncio.create_task(self._announce(child))
        try:
            return await child.finish()
        finally:
            announcement.cancel()

    async def _announce(self, child: Child) -> None:
        clock = asyncio.get_running_loop().time
        born = clock()
        match self.part.ready:
            case Answers(probe):
                await _poll(probe)
            case Says(event):
                await child.says(event)
        self.ready.set()
        self._notify(Ready(self.part.name, timedelta(seconds=clock() - born)))

    async def _recover(self, exit_code: int, last_lines: Sequence[str], deaths: int) -> None:
        decision = decide(self._policy, deaths=deaths, was_ready=self.ready.is_set())
        if isinstance(decision, GiveUp):
            what = f"{self.part.name} ended {deaths} times at its start (exit code {exit_code})"
            raise StartFailed(_told(what, last_lines))
        self._notify(
            Died(self.part.name, exit_code, decision.delay, deaths, decision.looping, last_lines=tuple(last_lines))
        )
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopping}, timeout=decision.delay.total_seconds())
        stopping.cancel()


async def _poll(probe: Probe) -> None:
    while not await probe():  # noqa: ASYNC110 - what is asked lives in another process
        await asyncio.sleep(_PROBE_EVERY)


def _told(what: str, last_lines: Sequence[str]) -> str:
    lines = "\n".join(f"  {line}" for line in last_lines)
    said = f"its last lines:\n{lines}" if lines else "it wrote nothing"
    return f"{what}; {said}\n`orchestrate doctor` looks at everything it needs"
