"""A task that is done anew: a second task with what the first was given. Pure."""

from collections.abc import Mapping
from typing import Any

from app.errors import Conflict
from app.jobs.models import DEFAULT_PRIORITY
from app.sessions.models import CONTINUES_SESSION
from app.tasks.clarification import clarified_text
from app.tasks.evaluation import read_evaluation
from app.tasks.inputs import read_inputs
from app.tasks.models import CLARIFY, Budget, Submission, is_dry_run
from app.tasks.retry_policy import WISH, read_wish


class TaskNotRerunnable(Conflict):
    code = "TASK_NOT_RERUNNABLE"
    title = "Task cannot be run anew"


def submission_of(task: Mapping[str, Any]) -> Submission:
    """What the task was given, with what its client said later; a deadline counts anew.

    It goes on with the session that its client named, as that is now. Raises `TaskNotRerunnable`.
    """
    if is_dry_run(task):
        raise TaskNotRerunnable("a dry run has no work to do again: ask for the route anew")
    deadline_at, budget = task.get("deadline_at"), task.get("budget")
    return Submission(
        text=clarified_text(task),
        session_id=task["session_id"] if task.get(CONTINUES_SESSION) else None,
        agent=task.get("requested_agent"),
        priority=task.get("priority", DEFAULT_PRIORITY),
        deadline=deadline_at - task["created_at"] if deadline_at else None,
        metadata=task["metadata"],
        budget=Budget(**budget) if budget else None,
        retry=read_wish(task.get(WISH)),
        inputs=read_inputs(task),
        clarify=bool(task.get(CLARIFY)),
        evaluation=read_evaluation(task),
        rerun_of=task["_id"],
    )
