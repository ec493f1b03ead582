"""A task as scores see it, now and long afterwards. Pure."""

from collections.abc import Mapping
from typing import Any

from app.governance.budgets.request import limits_in
from app.governance.scoring.models import ScoringSubject, Work
from app.tasks.clarification import clarified_text
from app.tasks.inputs import read_inputs


def work_of_task(task: Mapping[str, Any], agent: str | None) -> Work:
    """Given to this agent; the deadline counts from when the task was made."""
    deadline = task.get("deadline_at")
    subject = ScoringSubject(
        clarified_text(task),
        read_inputs(task),
        is_named=task["requested_agent"] is not None,
        limits=limits_in(task.get("budget") or {}),
        deadline=None if deadline is None else deadline - task["created_at"],
    )
    return Work(subject, agent)
