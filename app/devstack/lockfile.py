"""One stack per data folder: an advisory lock that the kernel releases however its holders die."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from app.errors import OrchestratorError


class StackRunning(OrchestratorError):
    code = "STACK_RUNNING"
    status = 409
    title = "Stack already running"


class FolderLock:
    """Holds `<folder>/lock`. Children that inherit `fd` hold it too, so that it is free only when all are gone."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def try_acquire(cls, folder: Path) -> Self | None:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return cls(fd)

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
