"""Why an execution is where it is, in plain words: a pure reading of it, its open steps and a few facts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.clock import to_iso
from app.database.documents import Document
from app.jobs.lanes import permit_waited_for
from app.jobs.models import Job
from app.workflows.executions.listing import StepStatus, status_of_step
from app.workflows.executions.models import ExecutionStatus, Waits, status_of

MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What the explanation is made from; ``open_steps`` are those that have not ended."""

    now: datetime
    live_workers: int
    free_slots: int
    open_steps: Sequence[Document]


@dataclass(frozen=True, slots=True)
class Why:
    waiting_for: str
    explanation: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Reason:
    """Of one step."""

    waiting_for: str
    text: str
    facts: dict[str, Any]


def explain(execution: Job, facts: Facts) -> Why:
    document = execution.document
    if execution.status.is_final:
        return _explain_final(execution)
    running = [step for step in facts.open_steps if status_of_step(step) is StepStatus.PROCESSING]
    if wanted := document["cancel_wanted"]:
        text = f"It was asked to stop at {to_iso(wanted['at'])} by {wanted['by']}; {_still(running)}{_nobody(facts)}"
        return Why("cancellation", text, {**_workers(facts), "cancel_requested_at": wanted["at"]})
    if paused_at := document["paused_at"]:
        by = f" by {document['paused_by']}" if document.get("paused_by") else ""
        text = f"It is paused since {to_iso(paused_at)}{by}; resume it to go on. {_still(running).capitalize()}"
        return Why("resume", text, {"paused_at": paused_at})
    if status_of(execution) is ExecutionStatus.QUEUED or not facts.open_steps:
        return _explain_driver(execution, facts)
    return _explain_steps(facts)


def _explain_final(execution: Job) -> Why:
    document = execution.document
    error, status = document["fault"] or document["error"], execution.status
    where = f" at {error['path']}" if error and error.get("path") else ""
    reason = f"{where}: {error['type']}: {error['message'].rstrip('.')}" if error else ""
    text = f"The execution is {status} since {to_iso(document['completed_at'])}{reason}."
    return Why("nothing", text, {"completed_at": document["completed_at"], "error": error})


def _explain_driver(execution: Job, facts: Facts) -> Why:
    if execution.lease is not None:
        told = f"Worker {execution.lease.worker} is about to begin the next steps."
        return Why("driver", told, {**_workers(facts), "worker": execution.lease.worker})
    if facts.live_workers == 0:
        return Why("worker", _nobody(facts).strip(), _workers(facts))
    text = f"It waits for one of {_count(facts.live_workers, 'worker')} with {_count(facts.free_slots, 'free slot')}."
    return Why("worker" if facts.free_slots else "slot", text, _workers(facts))


def _explain_steps(facts: Facts) -> Why:
    reasons = [_reason(step, facts) for step in facts.open_steps[:MOST_TOLD]]
    more = len(facts.open_steps) - len(reasons)
    others = f" And {more} more {'step' if more == 1 else 'steps'}." if more else ""
    kinds = {reason.waiting_for for reason in reasons}
    return Why(
        kinds.pop() if len(kinds) == 1 else "steps",
        " ".join(reason.text for reason in reasons) + others,
        {**_workers(facts), "open_steps": len(facts.open_steps), "steps": [reason.facts for reason in reasons]},
    )


def _reason(step: Document, facts: Facts) -> _Reason:
    status, path = status_of_step(step), step["path"]
    told = {"path": path, "status": status.value, "attempt": step["attempt"]}
    match status:
        case StepStatus.AWAITING_APPROVAL | StepStatus.WAITING:
            return _wait(step, told)
        case StepStatus.PROCESSING:
            worker = (step["lease"] or {}).get("worker")
            text = f"{path} has been running since {to_iso(step['started_at'])} on worker {worker}{_nth(step)}."
            return _Reason("step", text, {**told, "worker": worker, "started_at": step["started_at"]})
        case StepStatus.QUEUED:
            return _queued(step, told, facts)
        case ended:
            return _Reason("driver", f"{path} is {ended}; what follows from it begins in a moment.", told)


def _wait(step: Document, told: dict[str, Any]) -> _Reason:
    waits, path = step["waits_for"], step["path"]
    until = f" until {to_iso(waits['until'])}" if waits.get("until") else ""
    match Waits(waits["what"]):
        case Waits.APPROVAL:
            people = ", ".join(waits.get("approvers") or []) or "anybody"
            votes, quorum = len(step["votes"]), waits.get("quorum", 1)
            given = f" ({votes} of {quorum} have approved)" if quorum > 1 else ""
            text = f"{path} waits for the approval of {people}{given}{until}."
        case Waits.EVENT:
            key = f" with the key {waits['key']!r}" if waits.get("key") else ""
            text = f"{path} waits for the event {waits['event']}{key}{until}."
        case Waits.TIME:
            text = f"{path} waits{until}."
    return _Reason(waits["what"], text, {**told, "waits_for": dict(waits)})


def _queued(step: Document, told: dict[str, Any], facts: Facts) -> _Reason:
    path, error = step["path"], step["error"]
    if permit := permit_waited_for(step.get("lane")):
        text = f"As many steps and tasks run as {permit} may have; {path} begins when one of them ends."
        return _Reason("limit", text, {**told, "limit": permit})
    if step["not_before"] > facts.now:
        because = f" after {error['type']}: {error['message'].rstrip('.')}" if error else ""
        text = f"{path} is tried again at {to_iso(step['not_before'])}{because}."
        return _Reason("retry", text, {**told, "next_attempt_at": step["not_before"], "last_error": error})
    if facts.live_workers == 0:
        return _Reason("worker", f"{path} is queued.{_nobody(facts)}", told)
    return _Reason("slot", f"{path} is queued; {_count(facts.free_slots, 'slot')} of the workers are free.", told)


def _workers(facts: Facts) -> dict[str, Any]:
    return {"live_workers": facts.live_workers, "free_slots": facts.free_slots}


def _nobody(facts: Facts) -> str:
    return "" if facts.live_workers else " No worker is alive: start one with `orchestrate worker`."


def _still(running: Sequence[Document]) -> str:
    return f"{_count(len(running), 'step')} {'runs' if len(running) == 1 else 'run'} to an end."


def _nth(step: Document) -> str:
    return f", attempt {step['attempt']}" if step["attempt"] > 1 else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
