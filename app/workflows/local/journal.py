"""What happened in a run, line by line, each with the digest of everything before it.

A line is JSON: `seq` from 1, `at`, `event`, what belongs to the event, `previous` and `hash`, as `chain` says.
Appending is one write: a run that is killed leaves at most one torn line, which is not one.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from app.clock import Clock, to_iso, utc_now
from app.errors import OrchestratorError
from app.hash_chain import BEGINNING, Event, digest_of, follows


class EvidenceCorrupt(OrchestratorError):
    """Evidence was changed or lost after it was written; the message names where."""

    code = "EVIDENCE_CORRUPT"
    title = "Evidence corrupt"


class Journal:
    """Open for appending, by one process at a time."""

    def __init__(self, descriptor: int, *, seq: int, head: str, clock: Clock) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self.seq = seq
        self.head = head

    @classmethod
    def open(cls, path: Path, *, clock: Clock = utc_now) -> tuple[Self, list[Event]]:
        """The journal and what is in it; a torn last line is taken away. Raises `EvidenceCorrupt`."""
        events, length = _read(path) if path.exists() else ([], 0)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.ftruncate(descriptor, length)
        head = events[-1]["hash"] if events else BEGINNING
        return cls(descriptor, seq=len(events), head=head, clock=clock), events

    def append(self, event: str, **content: Any) -> Event:
        """The event as it was written."""
        line: Event = {
            "seq": self.seq + 1,
            "at": to_iso(self._clock()),
            "event": event,
            **content,
            "previous": self.head,
        }
        line["hash"] = digest_of(line)
        os.write(self._descriptor, f"{json.dumps(line)}\n".encode())
        self.seq, self.head = line["seq"], line["hash"]
        return line

    def sync(self) -> None:
        """What was appended survives the machine, too."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def read_journal(path: Path) -> list[Event]:
    """The events of a run that may still go on. Raises `EvidenceCorrupt`."""
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Event], int]:
    """The events, and how many bytes they take."""
    content = path.read_bytes()
    length = content.rfind(b"\n") + 1
    return list(_checked(content[:length].splitlines(), path)), length


def _checked(lines: list[bytes], path: Path) -> Iterator[Event]:
    previous = BEGINNING
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
            is_next = follows(line, previous) and line["seq"] == number
        except (ValueError, KeyError, RecursionError):
            is_next = False
        if not is_next:
            raise EvidenceCorrupt(f"{path.name}:{number}: this line was changed, or the one before it is missing")
        previous = line["hash"]
        yield line
