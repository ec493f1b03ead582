"""Keeps the log in proportion to what is alive: it is rewritten without its history, at start and beside the work.

The old log stays what counts, and grows, while another thread writes what there was at one moment to a second file.
Then what came meanwhile is added and the file takes the old one's place.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from app.devstack.store.catalog import Catalog
from app.devstack.store.image import Snapshot
from app.devstack.store.log import CommandLog, sync_folder

log = logging.getLogger(__name__)

# A log is rewritten when most of it is history, and it is long enough for that to matter.
FACTOR = 2
MINIMUM_BYTES_AT_START = 4 * 1024 * 1024
MINIMUM_BYTES = 16 * 1024 * 1024
# What is left to be added at the end, while nobody is answered.
_SMALL_BYTES = 256 * 1024
# Each round leaves less to the next, unless writers are as fast as the disk.
_MOST_ROUNDS = 8
_LOOK_SECONDS = 1.0
_PAUSE_AFTER_FAILURE = 60.0


def compact_at_start(path: Path, snapshot: Snapshot) -> None:
    """Rewrites a log whose content is ``snapshot`` when it is worth it; leaves it as it is when that fails."""
    fresh = _beside(path)
    fresh.unlink(missing_ok=True)
    size = path.stat().st_size if path.exists() else 0
    if size <= max(MINIMUM_BYTES_AT_START, FACTOR * snapshot.live_bytes):
        return
    try:
        snapshot.write(fresh)
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        # A full disk: the store may well be started to delete something.
        log.warning("store.not_compacted: %s", error)
        fresh.unlink(missing_ok=True)
    else:
        log.info("store.compacted: %d to %d bytes", size, path.stat().st_size)


class Compaction:
    """Looks after the log of a running store."""

    def __init__(
        self,
        catalog: Catalog,
        command_log: CommandLog,
        *,
        live_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._log = command_log
        self._compacted_bytes = live_bytes
        self._monotonic = monotonic
        self._not_before = 0.0
        self._stopping = threading.Event()

    @property
    def is_due(self) -> bool:
        """Also when the log cannot be written any more: a new one can, and holds all that was acknowledged."""
        grown = self._log.size > FACTOR * self._compacted_bytes + MINIMUM_BYTES
        return (grown or self._log.is_broken) and self._monotonic() >= self._not_before

    async def run_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self.is_due:
                await self.run()

    async def run(self) -> None:
        """Rewrite the log; a failure (a full disk) leaves it as it was, to be tried again later."""
        before, fresh = self._log.size, _beside(self._log.path)
        try:
            if await self._rewrite(fresh):
                self._compacted_bytes = self._log.size
                log.info("store.compacted: %d to %d bytes", before, self._log.size)
        except OSError as error:
            log.warning("store.not_compacted: %s", error)
            self._not_before = self._monotonic() + _PAUSE_AFTER_FAILURE
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)

    def stop(self) -> None:
        """Let the other thread end soon; what it was writing is removed at the next start."""
        self._stopping.set()

    async def _rewrite(self, fresh: Path) -> bool:
        # Both at the same moment: whatever is logged from here on is copied.
        snapshot, copied = self._catalog.snapshot(), self._log.size
        if not await asyncio.to_thread(snapshot.write, fresh, may_go_on=lambda: not self._stopping.is_set()):
            return False
        for _ in range(_MOST_ROUNDS):
            size = self._log.size
            if size - copied <= _SMALL_BYTES:
                break
            await asyncio.to_thread(self._log.copy, fresh, begin=copied, end=size)
            copied = size
        old = self._log.go_on_in(fresh, copied=copied)
        await asyncio.to_thread(_put_away, old, fresh.parent)
        return True


def _put_away(old: int, folder: Path) -> None:
    os.close(old)
    sync_folder(folder)


def _beside(path: Path) -> Path:
    return path.with_suffix(".compacting")
