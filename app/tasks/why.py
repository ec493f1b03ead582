"""Why a task is where it is, in plain words: a pure reading of the task and a few facts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.clock import to_iso
from app.database.documents import Document
from app.errors import CircuitOpen
from app.jobs.lanes import permit_waited_for
from app.jobs.limits import TENANT
from app.jobs.models import Status
from app.llm.circuits import Circuit, CircuitKey
from app.tasks.holds import find_hold

MOST_AHEAD = 1000


@dataclass(frozen=True, slots=True)
class Facts:
    """What the explanation is made from. ``ahead`` are tasks of the same tenant, counted up to `MOST_AHEAD`.

    The workers are those that serve the ``queue`` of the task's messages. ``circuit`` is the one that refused the
    task's last attempt, None when it has closed since.
    """

    now: datetime
    queue: str
    live_workers: int
    free_slots: int
    ahead: int
    queue_length: int | None
    circuit: Circuit | None = None


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
            return _explain_held(task)
        case final:
            return _explain_final(task, final)


def circuit_waited_for(task: Document) -> CircuitKey | None:
    """The circuit that refused the last attempt of a waiting task."""
    refused = (task["error"] or {}).get("type") == CircuitOpen.code and task.get("circuit")
    if not refused or task["status"] != Status.QUEUED:
        return None
    return CircuitKey(refused["provider"], refused["model"])


def _explain_queued(task: Document, facts: Facts) -> Why:
    if permit := permit_waited_for(task.get("lane")):
        return _explain_limit(permit)
    if task["not_before"] > facts.now:
        return _explain_circuit(task, facts.circuit) if facts.circuit else _explain_retry(task)
    known = {
        "position": facts.ahead + 1,
        "live_workers": facts.live_workers,
        "free_slots": facts.free_slots,
        "queue": facts.queue,
        "queue_length": facts.queue_length,
        "dispatches": task["dispatches"],
        "dispatched_at": task["dispatched_at"],
    }
    later = " or later" if facts.ahead >= MOST_AHEAD else ""
    place = f"The task is number {facts.ahead + 1}{later} of its tenant's waiting tasks"
    if facts.live_workers == 0:
        nobody = f"no worker that serves `{facts.queue}` is alive: start one with `orchestrate worker`"
        return Why("worker", f"{place}, and {nobody}.", known)
    if facts.free_slots == 0:
        return Why("slot", f"{place}; all slots of the {_count(facts.live_workers, 'worker')} are taken.", known)
    alive = f"{_count(facts.live_workers, 'worker')} alive with {_count(facts.free_slots, 'free slot')}"
    return Why("worker", f"{place}; {alive}. It starts in a moment.", known)


def _explain_limit(permit: str) -> Why:
    kind, _, name = permit.partition(":")
    setting = "TENANT_CONCURRENCY" if kind == TENANT else "AGENT_CONCURRENCY"
    of_whom = "this tenant" if kind == TENANT else f"agent {name}"
    text = f"As many tasks of {of_whom} run as may ({setting}); the task starts when one of them ends."
    return Why(f"{kind}_limit", text, {"limit": permit, "setting": setting})


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


def _explain_circuit(task: Document, circuit: Circuit) -> Why:
    provider, model = circuit.key.provider, circuit.key.model
    text = (
        f"{provider} ({model}) has failed {circuit.failures} times in a row since {to_iso(circuit.open_since)} and is "
        f"left alone until {to_iso(circuit.probe_at)}. The task tries again at {to_iso(task['not_before'])}; "
        "what was refused is no attempt."
    )
    facts = {
        "provider": provider,
        "model": model,
        "open_since": circuit.open_since,
        "next_probe_at": circuit.probe_at,
        "failures": circuit.failures,
        "next_attempt_at": task["not_before"],
    }
    return Why("provider_circuit", text, facts)


def _explain_processing(task: Document, facts: Facts) -> Why:
    worker = (task["lease"] or {}).get("worker")
    known = {"worker": worker, "started_at": task["started_at"], "attempt": task["attempt"]}
    seconds = max((facts.now - task["started_at"]).total_seconds(), 0.0)
    text = f"Attempt {task['attempt']} has been running for {seconds:.1f} s on worker {worker}."
    if task["cancel_requested_at"] is not None:
        return Why("cancellation", f"{text} It was asked to stop.", known)
    return Why("agent" if task["selected_agent"] or task["requested_agent"] else "routing", text, known)


def _explain_held(task: Document) -> Why:
    if hold := find_hold(task):
        text = f"{hold['message']}. Paused since {to_iso(hold['since'])}; cancel the task to give it up."
        return Why(hold["kind"], text, {**hold["facts"], "since": hold["since"]})
    since = task["updated_at"]
    return Why("approval", f"An approval has been pending since {to_iso(since)}.", {"since": since})


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
