"""Starts parts in the order of their needs, keeps them alive and stops them in reverse order."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import groupby
from pathlib import Path

from app.devstack.child import Child
from app.devstack.keeper import Keeper, Notify
from app.devstack.logfile import LogFile, Severity
from app.devstack.notices import Notice, Said
from app.devstack.part import Part
from app.devstack.reaper import Reaper
from app.devstack.restart import RestartPolicy

START_TIMEOUT = timedelta(seconds=45)


class Supervisor:
    """Runs in the main thread's event loop. Children also get the descriptors in `inherit` (the folder's lock)."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        logs: Path,
        notify: Notify,
        policy: RestartPolicy | None = None,
        inherit: Sequence[int] = (),
    ) -> None:
        self._notify = notify
        self._inherit = inherit
        self._logs = {part.name: LogFile(logs / f"{part.name}.log") for part in parts}
        self._hurry = asyncio.Event()
        self._reaper = Reaper.start()
        self._keepers = {
            part.name: Keeper(part, spawn=self._spawn, notify=self._say, policy=policy or RestartPolicy())
            for part in parts
        }

    @property
    def pids(self) -> dict[str, int]:
        """Of each part's latest process."""
        return {name: keeper.child.pid for name, keeper in self._keepers.items() if keeper.child is not None}

    async def start(self, timeout: timedelta = START_TIMEOUT) -> None:
        """Return when every part is ready; raise `StartFailed` when one is not. Either way, `stop` is the caller's."""
        starts = [asyncio.create_task(self._start(keeper, timeout)) for keeper in self._keepers.values()]
        try:
            await asyncio.gather(*starts)
        finally:
            for start in starts:
                start.cancel()
            await asyncio.wait(starts)

    async def stop(self) -> None:
        """Stop stage by stage; afterwards no process of the stack is left."""
        keepers = sorted(self._keepers.values(), key=_stage, reverse=True)
        for _, together in groupby(keepers, key=_stage):
            await asyncio.gather(*(keeper.stop(self._hurry) for keeper in together))
        self._reaper.stop()
        for log in self._logs.values():
            log.close()

    def hurry(self) -> None:
        """Grant no more grace."""
        self._hurry.set()

    async def _start(self, keeper: Keeper, timeout: timedelta) -> None:
        for name in keeper.part.after:
            await self._keepers[name].ready.wait()
        await keeper.start(timeout)

    async def _spawn(self, part: Part) -> Child:
        hear = partial(self._hear, part.name)
        log = self._logs[part.name]
        return await Child.spawn(part, log=log, hear=hear, reaper=self._reaper, inherit=self._inherit)

    def _hear(self, part: str, line: str, severity: Severity) -> None:
        self._say(Said(part, line, severity))

    def _say(self, notice: Notice) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone; the stack goes on
            self._notify(notice)


def _stage(keeper: Keeper) -> int:
    return keeper.part.stage
