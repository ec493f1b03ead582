"""Executions and steps as they are stored, for tests that need no driver."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.ids import new_id
from app.jobs.documents import to_document, to_job
from app.jobs.models import Job, NewJob
from app.tasks.models import Caller
from app.workflows.executions.models import FIRST_SERIES, Request, WorkflowRef, step_id
from app.workflows.executions.service import new_execution
from tests.job_builders import NOON, REDISPATCH, SECOND, TENANT

Json = dict[str, Any]
A_WORKFLOW = WorkflowRef(new_id(), "a-workflow", "sha256:0")
ACCEPTED = Request(A_WORKFLOW, {})


def an_execution(**changes: Any) -> Job:
    """Queued, unless the changes say otherwise."""
    new = new_execution(ACCEPTED, Caller(TENANT, "key", "request", "0" * 32), new_id(), {"json": "{}"})
    return to_job({**_document(new), **changes})


def a_step(path: str = "say", *, execution_id: str = "", seq: int = 1, **changes: Any) -> Json:
    """Queued, unless the changes say otherwise."""
    belongs = execution_id or new_id()
    fields: Json = {
        "execution_id": belongs,
        "workflow": {"id": A_WORKFLOW.id, "name": A_WORKFLOW.name, "digest": A_WORKFLOW.digest},
        "series": FIRST_SERIES,
        "path": path,
        "name": path.rpartition(".")[2],
        "kind": "agent",
        "seq": seq,
        **dict.fromkeys(("ended_seq", "input", "output", "end", "fault", "agent", "waits_for", "reused_from")),
        **{name: [] for name in ("cases", "attempts", "votes")},
        "heard": False,
        "artifacts": {},
    }
    return {**_document(NewJob(step_id(belongs, FIRST_SERIES, path), TENANT, fields, 3)), **changes}


def ended(step: Mapping[str, Any], ended_seq: int, end: str = "succeeded") -> Json:
    status = "failed" if end == "failed" else "completed"
    return {**step, "status": status, "end": end, "ended_seq": ended_seq, "completed_at": NOON + SECOND, "attempt": 1}


def _document(new: NewJob) -> Json:
    return to_document(new, now=NOON, redispatch=REDISPATCH, priority_step=timedelta(minutes=1))
