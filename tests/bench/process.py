"""One child process: tied to this one's life, its output in a file, stopped by its pid."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from app.devstack.child import tethered
from app.devstack.reaper import kill_group
from app.devstack.source import with_source

START_PATIENCE = 30.0
STOP_PATIENCE = 15.0
PROBE_PAUSE = 0.01
SHOWN_LINES = 15


class BenchFailed(Exception):
    """A number could not be measured, so there is no report."""


class Process:
    """Start it from the main thread: the kernel ties it to the thread that forked (see `app.devstack.tether`)."""

    def __init__(
        self, name: str, argv: Sequence[str], *, log: Path, environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self.name = name
        self._log = log
        self._started_at = time.monotonic()
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                tethered(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=with_source({**environment, "PYTHONUNBUFFERED": "1"}),
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_until(self, ready: Callable[[], bool]) -> float:
        """Seconds from the start of the process until it was ready; raises `BenchFailed` with its last words."""
        while not ready():
            if self._child.poll() is not None or time.monotonic() - self._started_at > START_PATIENCE:
                raise BenchFailed(f"{self.name} did not start:\n{self._last_words()}")
            time.sleep(PROBE_PAUSE)
        return time.monotonic() - self._started_at

    def says(self, words: str) -> bool:
        return words.encode() in self._log.read_bytes()

    def stop(self) -> None:
        """Ask, wait, then kill whatever is left of its process group."""
        self._child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(STOP_PATIENCE)
        kill_group(self.pid)
        self._child.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return os.linesep.join(lines[-SHOWN_LINES:])
