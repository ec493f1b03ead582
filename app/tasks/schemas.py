"""What crosses the wire for a task. Field names are a contract with existing clients: add, never rename or remove."""

import json
import re
from typing import Annotated, Any, Literal, Self
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp
from app.jobs.models import DEFAULT_PRIORITY, Reason, Status

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


class BudgetRequest(BaseModel):
    """What the task may consume over all its attempts. It fails with BUDGET_EXCEEDED before a call beyond that."""

    model_config = ConfigDict(extra="forbid", strict=True)

    usd: float | None = Field(None, gt=0, le=10_000, description="US dollars by list price.")
    tokens: int | None = Field(None, gt=0, description="Prompt and completion tokens together.")
    model_calls: int | None = Field(None, gt=0, description="Calls to models, routing included.")


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

    task: Annotated[str, AfterValidator(_is_clean_text)] = Field(
        description="What is to be done, in natural language; at most MAX_TASK_BYTES bytes."
    )
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
    metadata: Annotated[dict[MetadataKey, Scalar], AfterValidator(_is_small)] = Field(
        default_factory=dict, description="Your own labels, returned as they are; at most 4 KiB."
    )
    budget: BudgetRequest | None = Field(None, description="Limits of what the task may consume.")
    retry: RetryRequest | None = Field(None, description="The task's own retry policy, as far as it is given.")


class Routing(BaseModel):
    agent_name: str
    confidence: float
    reasoning: str


class Citation(BaseModel):
    source: str
    title: str
    url: str


class TaskResult(BaseModel):
    summary: str
    raw_output: str
    code_language: str | None
    citations: list[Citation]


class TaskError(BaseModel):
    type: str = Field(examples=["LLM_RATE_LIMITED"])
    message: str


class Cost(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    usd_estimate: float = 0.0
    model_calls: int = 0


class RunUsage(BaseModel):
    prompt: int = 0
    completion: int = 0
    total: int = 0


class AgentRun(BaseModel):
    """One piece of work by one agent within a task."""

    run_id: str
    task_id: str
    session_id: str
    agent_name: str
    agent_role: Literal["router", "executor", "evaluator"]
    input: str
    output: str | None
    model: str | None
    tools_used: list[str]
    started_at: Timestamp
    finished_at: Timestamp
    duration_ms: float
    token_usage: RunUsage
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
    error: TaskError | None
    cost: Cost
    agent_runs: list[AgentRun]
    history: list[HistoryItem]
    attempt: int
    max_attempts: int
    priority: int
    metadata: dict[str, Scalar]
    budget: BudgetRequest | None
    retry: RetryPolicyInForce | None
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


class ListMeta(PageMeta):
    total_is_capped: bool = Field(False, description="True when there are more than `total_items`.")


class TaskListResponse(BaseModel):
    items: list[TaskSummary]
    meta: ListMeta
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
