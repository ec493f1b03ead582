"""What happened in a run, line by line, each with the digest of everything before it.

A line is JSON: `seq` from 1, `at`, `event`, what belongs to the event, `previous` and `hash`. The hash is SHA-256 over
the line without it, keys sorted and without spaces, so that anybody can check it. Appending is one write: a run that
is killed leaves at most one torn line, which is not one.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from app.clock import Clock, to_iso, utc_now
from app.errors import OrchestratorError

BEGINNING = "0" * 64
Event = dict[str, Any]


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


def canonical(value: Any) -> bytes:
    """The same bytes for the same JSON value, whoever writes them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest_of(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({name: value for name, value in line.items() if name != "hash"})).hexdigest()


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
            is_next = line["seq"] == number and line["previous"] == previous and line["hash"] == digest_of(line)
        except (ValueError, KeyError, TypeError):
            is_next = False
        if not is_next:
            raise EvidenceCorrupt(f"{path.name}:{number}: this line was changed, or the one before it is missing")
        previous = line["hash"]
        yield line
