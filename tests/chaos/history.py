"""What the workers did, as they tell it themselves: an append-only file of one JSON line per event.

All processes of a world append to the same file. One `write` to a file opened with ``O_APPEND`` is whole or absent, and
what the kernel has taken survives ``kill -9``; no test here cuts the power, so there is no ``fsync`` to slow the loop.
Times are those of the monotonic clock, which all processes of a machine share and no step of the wall clock moves.
"""

import json
import os
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

PATH_VARIABLE = "CHAOS_HISTORY"


@dataclass(frozen=True, slots=True)
class Event:
    """``began`` is when the call behind the event was made, ``at`` when it had its answer.

    Of the handler: ``start``, ``tick``, ``effect``, ``sent``, ``end``, ``cancelled``, ``failed``. Of the store:
    ``claimed``, ``claim_refused``, ``saved``, ``settled``, ``write_refused`` (a late write, by an attempt that had
    lost its lease). Of the worker: ``sweeps``, when the upkeep becomes its own, and ``driving``, when it takes up an
    execution of a workflow. The ``detail`` of a claim is its lateness in seconds.
    """

    kind: str
    task_id: str
    at: float
    began: float
    pid: int
    token: str = ""
    attempt: int = 0
    worker: str = ""
    detail: str = ""


class HistoryFile:
    """The writing end."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._pid = os.getpid()

    def note(
        self,
        kind: str,
        task_id: str,
        *,
        token: str = "",
        attempt: int = 0,
        worker: str = "",
        detail: str = "",
        began: float | None = None,
    ) -> None:
        at = time.monotonic()
        event = Event(kind, task_id, at, at if began is None else began, self._pid, token, attempt, worker, detail)
        os.write(self._descriptor, json.dumps(asdict(event), separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


class HistoryReader:
    """The reading end: each look reads only what was added since the one before. For any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._events: list[Event] = []
        self._by_task: dict[str, list[Event]] = defaultdict(list)
        self._lock = threading.Lock()

    def events(self, *task_ids: str) -> list[Event]:
        """In the order of writing, of these tasks one after the other; of all when none is given."""
        with self._lock:
            self._read()
            if not task_ids:
                return list(self._events)
            return [event for task_id in task_ids for event in self._by_task.get(task_id, ())]

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            # The last line may still be on its way.
            whole_lines, end, _ = file.read().rpartition(b"\n")
        self._offset += len(whole_lines) + len(end)
        for line in whole_lines.splitlines():
            event = Event(**json.loads(line))
            self._events.append(event)
            self._by_task[event.task_id].append(event)
