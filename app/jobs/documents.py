"""Between the stored document and the `Job` value."""

from datetime import datetime, timedelta
from typing import Any

from app.jobs.history import new_entry, read_error
from app.jobs.lanes import Stage, lane_of, rank_of
from app.jobs.models import DEFAULT_PRIORITY, Job, Lease, NewJob, Reason, Status


def to_job(document: dict[str, Any]) -> Job:
    lease = document.get("lease")
    return Job(
        id=document["_id"],
        tenant_id=document["tenant_id"],
        status=Status(document["status"]),
        attempt=document["attempt"],
        max_attempts=document["max_attempts"],
        created_at=document["created_at"],
        not_before=document["not_before"],
        queued_at=document["queued_at"],
        resumed_at=document.get("resumed_at"),
        deadline_at=document.get("deadline_at"),
        lease=Lease(lease["token"], lease["worker"]) if lease else None,
        cancel_requested_at=document.get("cancel_requested_at"),
        dispatches=document["dispatches"],
        dispatched_at=document.get("dispatched_at"),
        alone=bool(document.get("alone")),
        priority=document.get("priority", DEFAULT_PRIORITY),
        error=read_error(document.get("error")),
        trace_id=document.get("trace_id"),
        stage=Stage(stage) if (stage := document.get("stage")) else None,
        document=document,
    )


def to_document(new: NewJob, *, now: datetime, redispatch: timedelta, priority_step: timedelta) -> dict[str, Any]:
    """The document of a job that was just accepted; it counts as rung once unless it has to wait first."""
    due = new.not_before or now
    waits = due > now
    return {
        **new.fields,
        "_id": new.id,
        "tenant_id": new.tenant_id,
        "status": Status.QUEUED.value,
        "priority": new.priority,
        "rank": rank_of(due, new.priority, step=priority_step),
        "stage": new.stage and new.stage.value,
        "lane": None if waits else lane_of(new.tenant_id, new.stage),
        "alone": False,
        "attempt": 0,
        "max_attempts": new.max_attempts,
        "not_before": due,
        "deadline_at": new.deadline_at,
        "lease": None,
        "dispatched_at": None if waits else now,
        "dispatches": 0 if waits else 1,
        "next_dispatch_at": due if waits else now + redispatch,
        "cancel_requested_at": None,
        "error": None,
        "trace_id": new.trace_id,
        "created_at": now,
        "queued_at": now,
        "started_at": None,
        "completed_at": None,
        "updated_at": now,
        "uncounted": False,
        "counted_seq": 0,
        "history": [new_entry(Status.QUEUED, now, Reason.ACCEPTED)],
    }
