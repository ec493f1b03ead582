"""The natural-language task: what a client hands in, and the limits of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.errors import Conflict, NotFound
from app.governance.evaluation.models import EVALUATION
from app.jobs.lanes import Stage
from app.jobs.models import DEFAULT_PRIORITY, DRY_RUN, NewJob
from app.jobs.retry import RetryPolicy, RetryWish
from app.sessions.models import CONTINUES_SESSION
from app.setting_evaluation import EvaluationRequest
from app.tasks.evaluation import as_stored as evaluation_as_stored
from app.tasks.holds import HOLD
from app.tasks.inputs import as_stored
from app.tasks.retry_policy import WISH, policy_fields, wish_as_json
from app.tasks.review import REVIEW, UNDER_REVIEW

COLLECTION = "tasks"
# Who works on a task that has no agent yet.
ROUTER = "PeerAgent"
# Whether the task's client may be asked which agent it is for.
CLARIFY = "clarify"
# The task that this one does anew.
RERUN_OF = "rerun_of"
# Dry runs are for somebody who waits, or looks in a moment.
DRY_RUN_DEADLINE = timedelta(minutes=1)
DRY_RUN_KEPT = timedelta(hours=1)
# The fields of tasks and steps that say what the policy decided about them, and how they were scored for it.
POLICY, SCORES = "policy", "scores"
# What the last series of attempts wrote and a new one must not inherit.
RESET_ON_RETRY: Mapping[str, Any] = {
    "result": None,
    "routing": None,
    "selected_agent": None,
    "agent_type": None,
    "peer_routing_reason": None,
    HOLD: None,
    REVIEW: None,
    UNDER_REVIEW: None,
    POLICY: None,
    SCORES: None,
}


class TaskNotFound(NotFound):
    code = "TASK_NOT_FOUND"
    title = "Task not found"


class TaskAlreadyFinished(Conflict):
    code = "TASK_ALREADY_FINISHED"
    title = "Task already finished"


class TaskNotRetryable(Conflict):
    code = "TASK_NOT_RETRYABLE"
    title = "Task not retryable"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a task may consume over all its attempts; None is without limit.

    ``on_exceeded`` says whether the task then fails or asks for more.
    """

    usd: float | None = None
    tokens: int | None = None
    model_calls: int | None = None
    wall_seconds: float | None = None
    on_exceeded: str = "fail"

    def as_json(self) -> dict[str, Any]:
        """Without what came later and is not used: digests that an older version stored must stay what they are."""
        later = {"wall_seconds": None, "on_exceeded": "fail"}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}


@dataclass(frozen=True, slots=True)
class Submission:
    """A task as a client submits it, already validated.

    With ``clarify`` it may ask its client which agent it is for; a ``dry_run`` ends where its agent would begin.
    ``rerun_of`` is the task that it does anew.
    """

    text: str
    session_id: str | None = None
    agent: str | None = None
    priority: int = DEFAULT_PRIORITY
    deadline: timedelta | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    retry: RetryWish | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    clarify: bool = False
    evaluation: EvaluationRequest | None = None
    dry_run: bool = False
    rerun_of: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The submission as plain data, alike for alike submissions."""
        if self.rerun_of is not None:
            # Whatever that task has come to be since.
            return {RERUN_OF: self.rerun_of}
        return {
            "task": self.text,
            "session_id": self.session_id,
            "agent": self.agent,
            "priority": self.priority,
            "deadline_seconds": self.deadline.total_seconds() if self.deadline else None,
            "metadata": dict(self.metadata),
            "budget": self.budget.as_json() if self.budget else None,
            # Absent when it is not used: the digests of keys that an older version stored must stay what they are.
            **({"retry": wish_as_json(self.retry)} if self.retry else {}),
            **({"input": dict(self.inputs)} if self.inputs else {}),
            **({"clarify": True} if self.clarify else {}),
            **({EVALUATION: evaluation_as_stored(self.evaluation)} if self.evaluation else {}),
        }


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a task is created, and in which trace."""

    tenant_id: str
    key_id: str
    request_id: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks a list shows; everything is optional and combines with and."""

    status: str | None = None
    agent_type: str | None = None
    session_id: str | None = None
    created_after: Any = None
    created_before: Any = None
    words: str | None = None


def new_task(
    submission: Submission,
    caller: Caller,
    *,
    task_id: str,
    session_id: str,
    policy: RetryPolicy,
    deadline_at: datetime | None,
    stage: Stage | None = None,
) -> NewJob:
    """The job that stands for a submitted task."""
    return NewJob(
        id=task_id,
        tenant_id=caller.tenant_id,
        max_attempts=policy.max_attempts,
        deadline_at=deadline_at,
        priority=submission.priority,
        trace_id=caller.trace_id,
        stage=stage,
        fields={
            "session_id": session_id,
            CONTINUES_SESSION: submission.session_id is not None,
            "input_text": submission.text,
            "requested_agent": submission.agent,
            "metadata": dict(submission.metadata),
            "inputs": as_stored(submission.inputs),
            "budget": asdict(submission.budget) if submission.budget else None,
            WISH: wish_as_json(submission.retry),
            **policy_fields(policy),
            "request_id": caller.request_id,
            "created_by": caller.key_id,
            "search_terms": search_terms(submission.text),
            "agent_runs": [],
            "cost": None,
            CLARIFY: submission.clarify,
            EVALUATION: evaluation_as_stored(submission.evaluation),
            **RESET_ON_RETRY,
            **_of_few(submission, deadline_at),
        },
    )


def _of_few(submission: Submission, deadline_at: datetime | None) -> dict[str, Any]:
    """Fields that most tasks do not have."""
    fields: dict[str, Any] = {RERUN_OF: submission.rerun_of} if submission.rerun_of else {}
    if submission.dry_run:
        # By then it has ended, so the store may remove it.
        fields |= {DRY_RUN: True, "expires_at": deadline_at + DRY_RUN_KEPT if deadline_at else None}
    return fields


def is_dry_run(task: Mapping[str, Any]) -> bool:
    """Whether the task is only to be routed."""
    return bool(task.get(DRY_RUN))


def is_to_be_evaluated(task: Mapping[str, Any]) -> bool:
    """Whether this attempt finds an agent and asks the policy, and leaves the work to the next one."""
    return task.get("stage") == Stage.EVALUATION


def agent_of(task: Mapping[str, Any]) -> str | None:
    """The agent that will do the task; None while it is not routed."""
    return task.get("selected_agent") or task.get("requested_agent")


MOST_TERMS = 64
LONGEST_TERM = 40


def search_terms(text: str) -> list[str]:
    """The words a task can be found by: lower case, without punctuation, each once, the first ones of long texts."""
    words = ("".join(c for c in word if c.isalnum())[:LONGEST_TERM] for word in text.lower().split())
    return list(dict.fromkeys(word for word in words if word))[:MOST_TERMS]
