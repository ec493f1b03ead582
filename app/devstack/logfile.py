"""A child's log on disk, and what its lines mean to the supervisor."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

LIMIT = 8 * 1024 * 1024


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFile:
    """Begins anew with each start of the stack, keeping the file before as `.1`: two files of `limit` bytes at most."""

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._rotate()

    def write(self, line: bytes) -> None:
        if self._size + len(line) > self._limit:
            self._file.close()
            self._rotate()
        self._file.write(line)
        self._size += len(line)

    def close(self) -> None:
        self._file.close()

    def _rotate(self) -> None:
        if self._path.exists():
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("wb", buffering=0)
        self._size = 0


def parse(line: str) -> dict[str, Any] | None:
    """The line as a JSON object, or None when it is something else."""
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


_SEVERITIES = {"warning": Severity.WARNING, "error": Severity.ERROR, "critical": Severity.ERROR}


def severity_of(record: dict[str, Any] | None) -> Severity:
    """Only our own records say how grave they are; the stores' remarks about the machine are for the file."""
    level = str(record.get("level", "")).lower() if record else ""
    return _SEVERITIES.get(level, Severity.INFO)
