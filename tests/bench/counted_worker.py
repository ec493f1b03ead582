"""``python -m tests.bench.counted_worker FILE``: a worker that notes each command it sends to the store in the file.

A line says the command, its collection, and how many statements it holds: writes that share a round trip are one
command.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pymongo import monitoring

from worker.__main__ import main

# Where a command that writes holds its statements.
STATEMENTS = ("documents", "updates", "deletes")


@dataclass(frozen=True, slots=True)
class Counted:
    commands: int
    statements: int


class Commands(monitoring.CommandListener):
    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        statements = max(len(event.command.get(name, ())) for name in STATEMENTS) or 1
        collection = event.command.get(event.command_name)
        os.write(self._descriptor, f"{event.command_name} {collection} {statements}\n".encode())

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """It was noted when it was sent."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """It was noted when it was sent."""


def counted_since(file: Path, begin: int) -> Counted:
    """Of the lines from this byte on."""
    lines = file.read_bytes()[begin:].splitlines()
    return Counted(len(lines), sum(int(line.rsplit(b" ", 1)[1]) for line in lines))


if __name__ == "__main__":
    monitoring.register(Commands(Path(sys.argv.pop())))
    sys.exit(main())
