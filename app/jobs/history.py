"""The event log of a job, read from its document.

An entry is appended by the same write that changes the status, and entries are never removed, so the place in the
array is a gapless sequence number that needs no counter. The attempt is a fold over the entries: a conditional
write cannot know the number it increments.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from app.jobs.models import HistoryEntry, JobError, Reason, Status

UNCHARGED = frozenset(
    {
        Reason.WORKER_DRAINING,
        Reason.ISOLATED,
        Reason.DEFERRED,
        Reason.CIRCUIT_OPEN,
        Reason.RATE_LIMITED,
        Reason.BUDGET_BUSY,
        Reason.EVALUATED,
        Reason.SUSPENDED,
    }
)


def new_entry(
    status: Status,
    at: datetime,
    reason: Reason,
    error: JobError | None = None,
    *,
    label: str | None = None,
    worker: str | None = None,
) -> dict[str, Any]:
    """One entry as it is stored; ``seq`` and ``attempt`` follow from its place."""
    entry: dict[str, Any] = {"status": status.value, "at": at, "reason": reason.value}
    if label is not None:
        entry["label"] = label
    if worker is not None:
        entry["worker"] = worker
    if error is not None:
        entry["error"] = {"type": error.type, "message": error.message}
    return entry


def read_history(entries: Iterable[Mapping[str, Any]]) -> list[HistoryEntry]:
    history: list[HistoryEntry] = []
    attempt = 0
    for seq, raw in enumerate(entries, start=1):
        reason = Reason(raw["reason"])
        attempt = _attempt_after(attempt, reason)
        history.append(
            HistoryEntry(
                seq,
                Status(raw["status"]),
                raw["at"],
                attempt,
                reason,
                read_error(raw.get("error")),
                raw.get("label"),
                raw.get("noted") or {},
                raw.get("worker"),
            )
        )
        attempt -= reason in UNCHARGED
    return history


def count_claims(entries: Iterable[Mapping[str, Any]]) -> int:
    """How often the job was ever claimed: it grows with every attempt, charged or not, and so tells a later one."""
    return sum(raw["reason"] == Reason.CLAIMED.value for raw in entries)


def read_error(raw: Mapping[str, Any] | None) -> JobError | None:
    return None if raw is None else JobError(type=raw["type"], message=raw["message"])


def _attempt_after(attempt: int, reason: Reason) -> int:
    if reason is Reason.CLAIMED:
        return attempt + 1
    return 0 if reason is Reason.RETRIED else attempt
