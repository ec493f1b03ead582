"""From the stored task to what clients see."""

import json
from collections.abc import Mapping
from typing import Any

from app.database.documents import Document
from app.governance.legal_holds.schemas import read_note
from app.jobs.history import read_history
from app.jobs.models import LEGAL_HOLD, Status
from app.tasks.holds import find_hold
from app.tasks.inputs import read_inputs
from app.tasks.review import REVIEW, UNDER_REVIEW
from app.tasks.schemas import AcceptedResponse, Cost, HistoryItem, TaskError, TaskResponse, TaskResult, TaskSummary

SAME_NAME = (
    "session_id", "input_text", "selected_agent", "agent_type", "peer_routing_reason", "routing", "created_at",
    "queued_at", "started_at", "completed_at", "updated_at", "not_before", "deadline_at", "cancel_requested_at",
    "error", "agent_runs", "attempt", "max_attempts", "priority", "metadata",
    "budget", "retry", "request_id", "trace_id", "policy", "scores", "rerun_of",
)  # fmt: skip


def present_task(task: Document) -> TaskResponse:
    return TaskResponse(
        task_id=task["_id"],
        status=Status(task["status"]),
        cost=task["cost"] or Cost(),
        history=present_history(task),
        input=read_inputs(task),
        hold=find_hold(task),
        result=_present_result(task["result"]),
        result_under_review=_present_result(task.get(UNDER_REVIEW)),
        review=task.get(REVIEW),
        legal_hold=read_note(task.get(LEGAL_HOLD)),
        **{name: task.get(name) for name in SAME_NAME},
    )


def _present_result(result: Mapping[str, Any] | None) -> TaskResult | None:
    if result is None:
        return None
    data = result.get("data")
    return TaskResult.model_validate({**result, "data": json.loads(data) if data else None})


def present_history(task: Document) -> list[HistoryItem]:
    return [
        HistoryItem(
            seq=entry.seq,
            status=entry.status,
            at=entry.at,
            attempt=entry.attempt,
            reason=entry.reason,
            error=TaskError(type=entry.error.type, message=entry.error.message) if entry.error else None,
        )
        for entry in read_history(task["history"])
    ]


def present_accepted(task: Document, *, waited: bool) -> AcceptedResponse:
    """The first answer; the same again for a repeated request, whatever became of the task since."""
    ended = waited and Status(task["status"]).is_final
    return AcceptedResponse(
        task_id=task["_id"],
        session_id=task["session_id"],
        status=Status(task["status"]) if waited else Status.QUEUED,
        queued_at=task["created_at"],
        message=f"Task {task['status']}." if ended else "Task accepted and queued.",
        task=present_task(task) if ended else None,
    )


def present_summary(task: Document) -> TaskSummary:
    return TaskSummary(
        task_id=task["_id"],
        agent_type=task["agent_type"],
        selected_agent=task["selected_agent"],
        session_id=task["session_id"],
        status=Status(task["status"]),
        created_at=task["created_at"],
        completed_at=task["completed_at"],
        summary=(task.get("result") or {}).get("summary"),
    )
