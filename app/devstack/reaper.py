"""The second line of defence against orphans: a process that kills every registered process group when the
supervisor's end of its pipe closes, however the supervisor ended.

On Linux the children also ask the kernel to kill them with their parent (`tether`); this one works everywhere and
reaches grandchildren.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import Self

from app.devstack.source import with_source


class Reaper:
    """The supervisor's end. A group is registered while its leader lives."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls) -> Self:
        argv = [sys.executable, "-m", "app.devstack.reaper"]
        environment = with_source(os.environ)
        return cls(subprocess.Popen(argv, stdin=subprocess.PIPE, env=environment, start_new_session=True))

    @property
    def pid(self) -> int:
        return self._process.pid

    def register(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def stop(self) -> None:
        """Close the pipe: whatever is still registered is killed; returns when the reaper is gone."""
        pipe = self._process.stdin
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        # A reaper that was killed leaves the first line of defence; the stack goes on.
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.write(line.encode())
                pipe.flush()


def survivors(lines: Iterable[str]) -> set[int]:
    """The groups that were registered and never forgotten; a line cut off by the supervisor's death is ignored."""
    groups: set[int] = set()
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if not line.endswith("\n") or not number.isdecimal():
            continue
        if sign == "+":
            groups.add(int(number))
        else:
            groups.discard(int(number))
    return groups


def kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def main() -> None:
    for group in survivors(sys.stdin):
        kill_group(group)


if __name__ == "__main__":
    main()
