"""Why a task is where it is, in plain words: a pure reading of the task and a few facts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.clock import to_iso
from app.database.documents import Document
from app.jobs.models import Status

MOST_AHEAD = 1000


@dataclass(frozen=True, slots=True)
class Facts:
    """What the explanation is made from. ``ahead`` is counted up to `MOST_AHEAD`."""

    now: datetime
    live_workers: int
    free_slots: int
    ahead: int
    queue_length: int | None


@dataclass(frozen=True, slots=True)
class Why:
    waiting_for: str
    explanation: str
    facts: dict[str, Any]


def explain(task: Document, facts: Facts) -> Why:
    match Status(task["status"]):
        case Status.QUEUED:
            return _explain_queued(task, facts)
        case Status.PROCESSING:
            return _explain_processing(task, facts)
        case Status.AWAITING_APPROVAL:
            since = task["updated_at"]
            return Why("approval", f"An approval has been pending since {to_iso(since)}.", {"since": since})
        case final:
            return _explain_final(task, final)


def _explain_queued(task: Document, facts: Facts) -> Why:
    if task["not_before"] > facts.now:
        return _explain_retry(task)
    known = {
        "position": facts.ahead + 1,
        "live_workers": facts.live_workers,
        "free_slots": facts.free_slots,
        "queue_length": facts.queue_length,
        "dispatches": task["dispatches"],
        "dispatched_at": task["dispatched_at"],
    }
    place = f"The task is number {facts.ahead + 1} in the queue" + (" or later" if facts.ahead >= MOST_AHEAD else "")
    if facts.live_workers == 0:
        return Why("worker", f"{place}, and no worker is alive: start one with `orchestrate worker`.", known)
    if facts.free_slots == 0:
        return Why("slot", f"{place}; all slots of the {_count(facts.live_workers, 'worker')} are taken.", known)
    alive = f"{_count(facts.live_workers, 'worker')} alive with {_count(facts.free_slots, 'free slot')}"
    return Why("worker", f"{place}; {alive}. It starts in a moment.", known)


def _explain_retry(task: Document) -> Why:
    error = task["error"] or {}
    because = f" after {error['type']}: {error['message'].rstrip('.')}" if error else ""
    text = f"Attempt {task['attempt'] + 1} of {task['max_attempts']} starts at {to_iso(task['not_before'])}{because}."
    limited = error.get("type") == "LLM_RATE_LIMITED"
    return Why(
        "provider_rate_limit" if limited else "retry",
        text,
        {"next_attempt_at": task["not_before"], "attempt": task["attempt"], "last_error": task["error"]},
    )


def _explain_processing(task: Document, facts: Facts) -> Why:
    worker = (task["lease"] or {}).get("worker")
    known = {"worker": worker, "started_at": task["started_at"], "attempt": task["attempt"]}
    seconds = max((facts.now - task["started_at"]).total_seconds(), 0.0)
    text = f"Attempt {task['attempt']} has been running for {seconds:.1f} s on worker {worker}."
    if task["cancel_requested_at"] is not None:
        return Why("cancellation", f"{text} It was asked to stop.", known)
    return Why("agent" if task["selected_agent"] or task["requested_agent"] else "routing", text, known)


def _explain_final(task: Document, status: Status) -> Why:
    error = task["error"]
    reason = f": {error['message'].rstrip('.')}" if error else ""
    return Why(
        "nothing",
        f"The task is {status} since {to_iso(task['completed_at'])}{reason}.",
        {"completed_at": task["completed_at"], "error": error},
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
