"""One running process: in its own session, tied to this one's life, its output read line by line."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from app.devstack import tether
from app.devstack.logfile import LogFile, Severity, parse, severity_of
from app.devstack.part import Part
from app.devstack.reaper import Reaper, kill_group
from app.devstack.source import with_source

_LONGEST_LINE = 1024 * 1024
_LAST_LINES = 15
Hear = Callable[[str, Severity], None]


class Child:
    """Start it from the main thread: the kernel ties it to the thread that forked (see `tether`)."""

    def __init__(self, process: asyncio.subprocess.Process, log: LogFile, hear: Hear, reaper: Reaper) -> None:
        self._process = process
        self._log = log
        self._hear = hear
        self._reaper = reaper
        reaper.register(process.pid)
        self._pump: asyncio.Task[None] | None = None
        self._events: set[str] = set()
        self._spoke = asyncio.Event()
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    @classmethod
    async def spawn(cls, part: Part, *, log: LogFile, hear: Hear, reaper: Reaper, inherit: Sequence[int] = ()) -> Self:
        # Our own pipe and not asyncio's: waiting for a process there may also wait for grandchildren that hold it.
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *tethered(part.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                env=with_source({**part.environment, "PYTHONUNBUFFERED": "1"}),
                cwd=part.folder,
                start_new_session=True,
                pass_fds=inherit,
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        child = cls(process, log, hear, reaper)
        child._pump = asyncio.create_task(child._read(read_end))
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        return tuple(self._last)

    async def says(self, event: str) -> None:
        """Return when it has written a JSON line with this event."""
        while event not in self._events:
            self._spoke.clear()
            await self._spoke.wait()

    async def finish(self) -> int:
        """Its exit code, once it has ended and what it left in its process group is gone too."""
        code = await self._process.wait()
        kill_group(self.pid)
        self._reaper.forget(self.pid)
        if self._pump is not None:
            await self._pump
        return code

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        kill_group(self.pid)

    async def _read(self, descriptor: int) -> None:
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor))
        try:
            while line := await _next_line(reader):
                self._take(line)
        finally:
            transport.close()

    def _take(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not stop the child by a full pipe
            self._log.write(line)
        text = line.decode(errors="replace").rstrip()
        self._last.append(text)
        record = parse(text)
        if record is not None and isinstance(record.get("event"), str):
            self._events.add(record["event"])
            self._spoke.set()
        self._hear(text, severity_of(record))


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    while True:
        try:
            return await reader.readline()
        except ValueError:  # longer than the limit: asyncio has dropped it
            continue


def tethered(argv: Sequence[str]) -> tuple[str, ...]:
    if sys.platform != "linux":
        return tuple(argv)
    return (sys.executable, "-I", "-S", str(Path(tether.__file__)), str(os.getpid()), *argv)
