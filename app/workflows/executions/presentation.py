"""From stored executions and steps to what clients see. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.database.documents import Document
from app.governance.legal_holds.schemas import read_note
from app.http.timestamps import LAST_YEAR
from app.jobs.models import LEGAL_HOLD, Job, Status
from app.replay.models import recordings_of
from app.tasks.attempt_schemas import AttemptCost
from app.tasks.attempts import Work
from app.tasks.models import POLICY, SCORES
from app.workflows.definitions.schemas import Graph
from app.workflows.executions.listing import StepStatus, status_of_step
from app.workflows.executions.logs import LogLine, detail_of
from app.workflows.executions.models import ExecutionStatus, seconds_between, status_of
from app.workflows.executions.schemas import (
    CurrentStep,
    ExecutionAccepted,
    ExecutionResponse,
    ExecutionStatusResponse,
    ExecutionSummary,
    LogEntry,
    LogLineItem,
    Progress,
    StepCounts,
    StepItem,
    StepResponse,
)

MOST_CURRENT = 50
_SAME_NAME = ("metadata", "series", "queued_at", "updated_at", "paused_at", "created_by", "request_id")
_STEP_SAME_NAME = (
    "path", "name", "kind", "series", "seq", "ended_seq", "agent", "attempt", "created_at", "started_at",
    "completed_at", "waits_for", "reused_from",
)  # fmt: skip


def present_summary(execution: Job) -> ExecutionSummary:
    return ExecutionSummary(**_summary(execution))


def present_execution(
    execution: Job,
    *,
    inputs: Any,
    outputs: Any,
    graph: Mapping[str, Any],
    steps: Sequence[Document],
    steps_next: str | None,
) -> ExecutionResponse:
    document = execution.document
    return ExecutionResponse(
        **_summary(execution),
        **{name: document.get(name) for name in _SAME_NAME},
        inputs=inputs or {},
        outputs=outputs,
        duration_seconds=seconds_between(document["begun_at"], document["completed_at"]),
        cancel_requested_at=(document["cancel_wanted"] or {}).get("at"),
        legal_hold=read_note(document.get(LEGAL_HOLD)),
        log=[_entry(entry) for entry in document["log"]],
        graph=Graph.model_validate(graph),
        steps=[present_step_item(step) for step in steps],
        steps_next=steps_next,
        trace_id=execution.trace_id,
    )


def present_accepted(execution: Job, whole: ExecutionResponse | None, *, waited: bool) -> ExecutionAccepted:
    """The first answer; the same again for a repeated request, whatever became of the execution since."""
    workflow, status = execution.document["workflow"], status_of(execution)
    return ExecutionAccepted(
        execution_id=execution.id,
        workflow_id=workflow["id"],
        name=workflow["name"],
        digest=workflow["digest"],
        status=status if waited else ExecutionStatus.QUEUED,
        queued_at=execution.created_at,
        message=f"Execution {status}." if whole else "Execution accepted and queued.",
        execution=whole,
    )


def present_step_item(step: Document) -> StepItem:
    return StepItem(**_step(step))


def present_step(step: Document, *, given: Any, output: Any) -> StepResponse:
    return StepResponse(
        **_step(step),
        execution_id=step["execution_id"],
        input=given,
        output=output,
        attempts=step.get("attempts") or [],
        votes=step.get("votes") or [],
        artifacts=step.get("artifacts") or {},
        policy=step.get(POLICY),
        scores=step.get(SCORES),
    )


def work_on_step(step: Document) -> list[Work]:
    """What those of its attempts came to that lived to tell."""
    return [
        Work(
            one["started_at"],
            one["agent"],
            one["models"],
            cost=AttemptCost(**{name: one["cost"][name] for name in AttemptCost.model_fields}),
        )
        for one in step.get("attempts") or ()
    ]


def present_status(execution: Job, open_steps: Sequence[Document]) -> ExecutionStatusResponse:
    """``open_steps`` are those that have not ended."""
    document, progress = execution.document, execution.document["progress"]
    found = Counter(status_of_step(step) for step in open_steps)
    unfinished = [step for step in open_steps if not Status(step["status"]).is_final]
    return ExecutionStatusResponse(
        execution_id=execution.id,
        status=status_of(execution),
        progress_percentage=progress["percent"],
        current_steps=[_current(step) for step in sorted(unfinished, key=lambda one: int(one["seq"]))[:MOST_CURRENT]],
        counts=StepCounts(
            total=progress["total"],
            ended=progress["ended"],
            failed=progress["failed"],
            queued=found[StepStatus.QUEUED],
            processing=found[StepStatus.PROCESSING],
            waiting=found[StepStatus.WAITING],
            awaiting_approval=found[StepStatus.AWAITING_APPROVAL],
        ),
        error=document["fault"],
        updated_at=document["updated_at"],
    )


def present_lines(lines: Iterable[LogLine]) -> list[LogLineItem]:
    return [
        LogLineItem(seq=line.seq, at=line.at, level=line.level, path=line.path, message=line.message) for line in lines
    ]


def _summary(execution: Job) -> dict[str, Any]:
    document, progress = execution.document, execution.document["progress"]
    return {
        "execution_id": execution.id,
        "workflow": document["workflow"],
        "status": status_of(execution),
        "progress": Progress(
            total=progress["total"],
            ended=progress["ended"],
            failed=progress["failed"],
            percentage=progress["percent"],
        ),
        "error": document["fault"] or document["error"],
        "cost": document["cost"],
        "created_at": execution.created_at,
        "started_at": document["begun_at"],
        "completed_at": document["completed_at"],
        "forked_from": document["forked_from"],
    }


def _entry(entry: Mapping[str, Any]) -> LogEntry:
    return LogEntry(seq=entry["seq"], at=entry["at"], event=entry["event"], by=entry.get("by"), detail=detail_of(entry))


def _step(step: Document) -> dict[str, Any]:
    is_over = Status(step["status"]).is_final
    return {
        **{name: step.get(name) for name in _STEP_SAME_NAME},
        "step_id": step["_id"],
        "status": status_of_step(step),
        "duration_seconds": seconds_between(step["created_at"], step["completed_at"]),
        "not_before": None if is_over or step["not_before"].year > LAST_YEAR else step["not_before"],
        "error": step["fault"] or step["error"],
        "recordings": len(recordings_of(step)),
    }


def since(step: Document) -> Any:
    """Since when it is where it is."""
    return step["started_at"] if step["status"] == Status.PROCESSING else step["updated_at"]


def _current(step: Document) -> CurrentStep:
    return CurrentStep(
        path=step["path"],
        kind=step["kind"],
        status=status_of_step(step),
        since=since(step),
        attempt=step["attempt"],
        waits_for=step["waits_for"],
    )
