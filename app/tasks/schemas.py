"""What crosses the wire for a task. Field names are a contract with existing clients: add, never rename or remove."""

import json
import re
from typing import Annotated, Any, Literal, Self
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.agents.routing import RoutingRule
from app.artifacts.models import ArtifactKind, FoundArtifact
from app.governance.legal_holds.schemas import LegalHoldNote
from app.governance.scoring.schemas import WorkScores
from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp
from app.jobs.models import DEFAULT_PRIORITY, Reason, Status
from app.setting_evaluation import EvaluationRequest
from app.tasks.evaluation_schemas import Evaluation, Review
from app.tasks.inputs import check_bounds
from app.tasks.policy_schemas import PolicyNote

MOST_METADATA_BYTES = 4096
SessionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
EXAMPLE_ID = "5f0c2a52-6f0b-4d0e-9c55-0d2b6d1f3a77"
EXAMPLE_TIME = "2026-11-21T10:00:00.000Z"


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")


def _is_visible(character: str) -> bool:
    return not character.isspace() and category(character) not in {"Cc", "Cf"}


def _is_clean_text(value: str) -> str:
    if not any(_is_visible(character) for character in value):
        raise ValueError("the task is blank: say in words what is to be done")
    if _CONTROL.search(value):
        raise ValueError("the task has control characters: only line breaks and tabs are allowed")
    if _HALF_PAIR.search(value):
        raise ValueError("the task has characters that are not valid Unicode")
    return value


def _is_small(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value, default=str).encode()) > MOST_METADATA_BYTES:
        raise ValueError(f"metadata may have at most {MOST_METADATA_BYTES} bytes as JSON")
    return value


Scalar = str | int | float | bool | None
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

Metadata = Annotated[dict[MetadataKey, Scalar], AfterValidator(_is_small)]
TaskText = Annotated[str, AfterValidator(_is_clean_text)]
TaskInput = Annotated[dict[str, Any], AfterValidator(check_bounds)]


class TaskLimits(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    usd: float | None = Field(None, gt=0, le=10_000, allow_inf_nan=False, description="US dollars by list price.")
    tokens: int | None = Field(None, gt=0, le=10**12, description="Prompt and completion tokens together.")
    model_calls: int | None = Field(None, gt=0, le=10**9, description="Calls to models, routing included.")
    wall_seconds: float | None = Field(
        None, gt=0, le=10_000_000, allow_inf_nan=False, description="Seconds that workers spend on the task."
    )


class BudgetRequest(TaskLimits):
    """What the task may consume over all its attempts; no call is made beyond that."""

    on_exceeded: Literal["fail", "ask"] = Field(
        "fail",
        description="`fail` ends the task with BUDGET_EXCEEDED; `ask` pauses it in `awaiting_approval` until somebody "
        "raises the budget or cancels it.",
    )


class BudgetRaise(TaskLimits):
    """New limits of a paused task, instead of lower ones; empty when another budget than its own was reached."""


class RetryRequest(BaseModel):
    """How often the task may be tried, and when; what is left out is decided by its agent or the deployment."""

    model_config = ConfigDict(extra="forbid", strict=True)

    max_attempts: int | None = Field(None, ge=1, le=20, description="Attempts before the task fails for good.")
    initial_seconds: float | None = Field(None, gt=0, le=600, description="Longest delay before the second attempt.")
    max_seconds: float | None = Field(None, gt=0, le=86_400, description="Longest delay between attempts.")
    max_total_seconds: float | None = Field(
        None, gt=0, le=604_800, description="No retry starts later than this after the task was queued."
    )

    @model_validator(mode="after")
    def _delays_fit_together(self) -> Self:
        if self.initial_seconds and self.max_seconds and self.initial_seconds > self.max_seconds:
            raise ValueError("initial_seconds must not exceed max_seconds")
        return self


class RetryPolicyInForce(BaseModel):
    """The retry policy in force: of the task itself, its agent or the deployment, in this order."""

    max_attempts: int
    initial_seconds: float
    max_seconds: float
    max_total_seconds: float | None


class ExecuteRequest(BaseModel):
    """A task in natural language."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"task": "Write a short article about durable queues, with sources."},
                {"task": "Write a Python function that reverses a string.", "session_id": "demo"},
            ]
        },
    )

    task: TaskText = Field(description="What is to be done, in natural language; at most MAX_TASK_BYTES bytes.")
    session_id: SessionId | None = Field(
        None, description="Groups tasks of one conversation; made when missing. Letters, digits and `._:-`."
    )
    agent: str | None = Field(None, max_length=64, description="Skip routing and give the task to this agent.")
    priority: int = Field(
        DEFAULT_PRIORITY, ge=0, le=9, description="9 goes first, 0 last, where the broker knows priorities."
    )
    deadline_seconds: float | None = Field(
        None, ge=0.001, le=7 * 86_400, description="The task fails with DEADLINE_EXCEEDED unless it ends in time."
    )
    metadata: Metadata = Field(
        default_factory=dict, description="Your own labels, returned as they are; at most 4 KiB."
    )
    input: TaskInput = Field(
        default_factory=dict,
        description="Typed input of the agent, as its input schema says: for instance a text and what to do with it, "
        "or a table. Without `agent`, input that only one agent takes decides the routing. A member "
        '`{"artifact": "<sha256>"}` is the text of that artifact.',
    )
    budget: BudgetRequest | None = Field(None, description="Limits of what the task may consume.")
    retry: RetryRequest | None = Field(None, description="The task's own retry policy, as far as it is given.")
    evaluation: EvaluationRequest | None = Field(
        None, description="How the output is evaluated, and what happens when it does not pass."
    )
    clarify: bool = Field(
        False,
        description="When the router is not sure: wait in `awaiting_approval` for `POST /v1/tasks/{id}/clarify`, "
        "instead of failing with UNKNOWN_TASK_TYPE.",
    )


class RoutingCandidate(BaseModel):
    """An agent that the router considered."""

    agent_name: str
    score: float = Field(description="How well it fits, from 0 to 1.")
    reason: str


class PromptUse(BaseModel):
    """A version of a prompt."""

    name: str
    digest: str


class Routing(BaseModel):
    """What was decided and why; a task that no agent takes has one, too."""

    agent_name: str = Field(description="What the router named; `Unknown` for none.")
    confidence: float
    reasoning: str
    rule: RoutingRule | None = Field(None, description="What decided; null for tasks that an older version routed.")
    candidates: list[RoutingCandidate] = Field([], description="The agents that were considered, the best first.")
    prompt: PromptUse | None = Field(None, description="The version of the router's prompt; null without a model.")
    model: str | None = Field(None, description="The model that was asked; null when none was.")
    threshold: float | None = Field(None, description="The confidence that was needed (ROUTER_MIN_CONFIDENCE).")


class Citation(BaseModel):
    source: str
    title: str
    url: str


class File(BaseModel):
    path: str = Field(examples=["src/reverse.py"])
    content: str
    language: str | None


class Artifact(BaseModel):
    name: str = Field(examples=["chart-1.svg"])
    media_type: str = Field(examples=["image/svg+xml"])
    sha256: str
    size: int = Field(description="Bytes.")
    kind: ArtifactKind = Field(ArtifactKind.OUTPUT, description="What was made, or evidence of what was done.")
    attempt: int | None = Field(None, description="Of evidence: the attempt that it is of.")

    @classmethod
    def of(cls, found: FoundArtifact) -> Self:
        return cls.model_validate(found, from_attributes=True)


class TaskResult(BaseModel):
    summary: str
    raw_output: str
    code_language: str | None
    citations: list[Citation]
    data: dict[str, Any] | None = Field(None, description="The answer in the shape of the agent's output schema.")
    files: list[File] = Field([], description="Files the answer holds.")
    artifacts: list[Artifact] = Field([], description="Blobs to be downloaded from `/v1/tasks/{id}/artifacts`.")
    notes: list[str] = Field([], description="What to know of how the answer came about.")
    evaluation: Evaluation | None = Field(None, description="The verdict on the output; null when none was wanted.")


class TaskError(BaseModel):
    type: str = Field(examples=["LLM_RATE_LIMITED"])
    message: str


class Cost(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    usd_estimate: float = 0.0
    model_calls: int = 0
    unpriced_calls: int = Field(0, description="Calls whose price is not known; `usd_estimate` is without them.")


class RunUsage(BaseModel):
    prompt: int = 0
    completion: int = 0
    total: int = 0
    cached: int = Field(0, description="Of `prompt`, read from the provider's cache.")
    cache_written: int = Field(0, description="Of `prompt`, put into the provider's cache.")
    reasoning: int = Field(0, description="Of `completion`, thought and not said.")


class ModelUse(BaseModel):
    """What became of a run's calls to one model."""

    model: str
    calls: int
    failures: int
    last_error: str | None = Field(description="Code of the last failure; with 0 calls, why the model was not asked.")


class AgentRun(BaseModel):
    """One piece of work by one agent within a task."""

    run_id: str
    task_id: str
    session_id: str
    agent_name: str
    agent_role: Literal["router", "executor", "evaluator", "memory"]
    input: str
    output: str | None
    model: str | None
    tools_used: list[str]
    started_at: Timestamp
    finished_at: Timestamp
    duration_ms: float
    first_token_ms: float | None = Field(
        None, description="How long the first answer that came in pieces took to begin; null when none did."
    )
    token_usage: RunUsage
    models: list[ModelUse] = Field([], description="The models that were asked, in this order.")
    prompts: list[PromptUse] = Field([], description="The prompts that were used, with the digest of their version.")
    status: Literal["completed", "failed", "cancelled"]
    attempt: int
    error: TaskError | None = None


class HistoryItem(BaseModel):
    seq: int
    status: Status
    at: Timestamp
    attempt: int
    reason: Reason
    error: TaskError | None = None


class Hold(BaseModel):
    """What a task in `awaiting_approval` waits for."""

    kind: str = Field(examples=["budget"])
    message: str
    since: Timestamp
    facts: dict[str, Any]


class TaskResponse(BaseModel):
    """The whole task."""

    task_id: str = Field(examples=[EXAMPLE_ID])
    session_id: str
    input_text: str
    status: Status
    selected_agent: str | None
    agent_type: str | None = Field(examples=["content", "code"])
    peer_routing_reason: str | None
    routing: Routing | None
    created_at: Timestamp
    queued_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    updated_at: Timestamp
    not_before: Timestamp
    deadline_at: Timestamp | None
    cancel_requested_at: Timestamp | None
    result: TaskResult | None
    result_under_review: TaskResult | None = Field(None, description="The output that somebody has to look at.")
    review: Review | None = Field(None, description="What a reviewer said of the output.")
    error: TaskError | None
    cost: Cost
    agent_runs: list[AgentRun]
    history: list[HistoryItem]
    attempt: int
    max_attempts: int
    priority: int
    metadata: dict[str, Scalar]
    input: dict[str, Any] = Field({}, description="The typed input as it was handed in.")
    budget: BudgetRequest | None
    hold: Hold | None = Field(None, description="What the task waits for while it is `awaiting_approval`.")
    policy: PolicyNote | None = Field(None, description="Null where there is no policy.")
    scores: WorkScores | None = Field(
        None, description="Made before the agent began; null where no policy asked for it."
    )
    legal_hold: LegalHoldNote | None = Field(None, description="While there is one, nothing of the task is deleted.")
    retry: RetryPolicyInForce | None
    rerun_of: str | None = Field(None, description="The task that this one does anew.")
    request_id: str | None
    trace_id: str | None
    api_version: Literal["v1"] = "v1"


class AcceptedResponse(BaseModel):
    """The task is stored and will end in a final state."""

    task_id: str = Field(examples=[EXAMPLE_ID])
    session_id: str = Field(examples=["demo"])
    status: Status = Field(examples=[Status.QUEUED])
    queued_at: Timestamp = Field(examples=[EXAMPLE_TIME])
    message: str = Field(examples=["Task accepted and queued."])
    task: TaskResponse | None = Field(
        None, description="The whole task, when `Prefer: wait` was given and it ended in time."
    )
    api_version: Literal["v1"] = "v1"


class TaskSummary(BaseModel):
    task_id: str
    agent_type: str | None
    selected_agent: str | None
    session_id: str
    status: Status
    created_at: Timestamp
    completed_at: Timestamp | None
    summary: str | None


class TaskListResponse(BaseModel):
    items: list[TaskSummary]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class WhyResponse(BaseModel):
    """What the task waits for, in words and in facts."""

    task_id: str
    status: Status
    waiting_for: str = Field(examples=["worker", "retry", "nothing"])
    explanation: str = Field(
        examples=["The task is number 3 of its tenant's waiting tasks; 1 worker is alive with 97 free slots."]
    )
    facts: dict[str, Any]
    api_version: Literal["v1"] = "v1"


class EventTokenResponse(BaseModel):
    """For clients that cannot send headers with an event stream."""

    token: str
    expires_in: int = Field(description="Seconds until the token is refused.")
    api_version: Literal["v1"] = "v1"
