"""What crosses the wire for executions. Field names are a contract: add, never rename or remove."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from app.governance.legal_holds.schemas import LegalHoldNote
from app.governance.scoring.schemas import WorkScores
from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp
from app.tasks.inputs import check_bounds
from app.tasks.policy_schemas import PolicyNote
from app.tasks.schemas import EXAMPLE_ID, EXAMPLE_TIME, Metadata
from app.workflows.definitions.schemas import EXAMPLE_DIGEST, Graph
from app.workflows.executions.listing import StepStatus
from app.workflows.executions.logs import Level
from app.workflows.executions.models import ExecutionStatus
from app.workflows.language.models import EventName

LARGEST_DATA = 64 * 1024
LONGEST_COMMENT = 10_000
_STRICT = ConfigDict(extra="forbid", strict=True)
InputData = Annotated[dict[str, Any], AfterValidator(check_bounds)]


def _is_small(data: Any) -> Any:
    check_bounds({"data": data})
    if len(json.dumps(data).encode()) > LARGEST_DATA:
        raise ValueError(f"a signal may carry at most {LARGEST_DATA} bytes as JSON; keep more elsewhere and name it")
    return data


class ExecuteWorkflowRequest(BaseModel):
    model_config = ConfigDict(
        **_STRICT, json_schema_extra={"examples": [{"input_data": {"input_text": "What a good day."}}]}
    )

    input_data: InputData = Field(default_factory=dict, description="What the workflow's `inputs` ask for.")
    metadata: Metadata = Field(
        default_factory=dict, description="Your own labels, returned as they are; at most 4 KiB."
    )
    version: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        None, description="The digest of a version; else the current one.", examples=[EXAMPLE_DIGEST]
    )


class ForkRequest(BaseModel):
    model_config = _STRICT

    input_data: InputData = Field(
        default_factory=dict, description="Inputs that shall be others; the rest is as it was."
    )
    accept_changes: bool = Field(
        False, description="Carry out the current version of the workflow instead of the one that was carried out."
    )


class SignalRequest(BaseModel):
    model_config = _STRICT

    event: EventName = Field(description="What a step waits for (`wait: {event: …}`).", examples=["payment.received"])
    key: Annotated[str, StringConstraints(max_length=1000)] | None = Field(
        None, description="The correlation key; a step that names one takes no other."
    )
    data: Annotated[Any, AfterValidator(_is_small)] = Field(None, description="JSON, at most 64 KiB.")


class AnswerRequest(BaseModel):
    model_config = _STRICT

    comment: Annotated[str, StringConstraints(max_length=LONGEST_COMMENT)] = Field(
        "", description="Kept with the step."
    )
    form: InputData = Field(default_factory=dict, description="The fields that the step asks approvers for.")


class WorkflowPin(BaseModel):
    """The version that an execution carries out; a newer one changes nothing here."""

    id: str
    name: str = Field(examples=["content-analysis"])
    digest: str = Field(examples=[EXAMPLE_DIGEST])


class Fault(BaseModel):
    type: str = Field(examples=["APPROVAL_REJECTED"])
    message: str
    path: str | None = Field(None, description="The innermost step that failed.", examples=["review[2].fix"])


class Progress(BaseModel):
    """Step instances; more become known as loops and fan-outs begin."""

    total: int = Field(description="Known so far.")
    ended: int
    failed: int
    percentage: float


class ExecutionCost(BaseModel):
    usd: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    model_calls: int = 0


class ForkedFrom(BaseModel):
    execution_id: str
    step: str = Field(description="The first step that was carried out again.")


class LogEntry(BaseModel):
    """What was done to the execution as a whole."""

    seq: int
    at: Timestamp
    event: str = Field(examples=["paused"])
    by: str | None = Field(None, description="Id of the key that asked for it.")
    detail: dict[str, Any]


class WaitsFor(BaseModel):
    """What a step waits for that no worker can do."""

    what: Literal["approval", "event", "time"]
    approval_id: str | None = Field(None, description="What `/v1/approvals` shows and takes decisions about.")
    message: str | None = None
    approvers: list[str] | None = None
    quorum: int | None = None
    event: str | None = None
    key: str | None = None
    until: Timestamp | None = Field(None, description="When the wait is over in any case.")


class StepItem(BaseModel):
    """A step instance: one item of a fan-out or one iteration's step is one of its own."""

    step_id: str
    path: str = Field(examples=["review[2].fix"])
    name: str
    kind: str = Field(examples=["agent"])
    status: StepStatus
    series: int
    seq: int = Field(description="When it began, in the order of the execution's events.")
    ended_seq: int | None
    agent: str | None
    attempt: int
    created_at: Timestamp
    started_at: Timestamp | None = Field(description="When its last attempt began.")
    completed_at: Timestamp | None
    duration_seconds: float | None = Field(description="From its beginning to its end.")
    not_before: Timestamp | None = Field(description="When the next attempt may begin, or the wait ends.")
    error: Fault | None
    waits_for: WaitsFor | None
    reused_from: str | None = Field(description="The execution that its output was taken over from.")
    recordings: int = Field(0, description="How many of its attempts are recorded, for `orchestrate replay`.")


class Vote(BaseModel):
    by: str
    approved: bool
    comment: str
    at: Timestamp


class StepAttempt(BaseModel):
    """One try at a step."""

    model_config = ConfigDict(extra="allow")

    number: int
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    error: Any = None


class StepResponse(StepItem):
    """A step instance with what it was given and gave."""

    execution_id: str
    input: Any = Field(description="As it was rendered when the step began; null for one that takes nothing.")
    output: Any
    attempts: list[StepAttempt] = Field(
        description="Those that lived to tell what they came to; `…/attempts` has all, also of lost workers."
    )
    votes: list[Vote]
    artifacts: dict[str, Any]
    policy: PolicyNote | None = Field(None, description="Null where there is no policy, or it was not asked.")
    scores: WorkScores | None = Field(
        None, description="Made before the step began; null where no policy asked for it."
    )
    api_version: Literal["v1"] = "v1"


class StepListResponse(BaseModel):
    items: list[StepItem]
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class ExecutionSummary(BaseModel):
    execution_id: str = Field(examples=[EXAMPLE_ID])
    workflow: WorkflowPin
    status: ExecutionStatus
    progress: Progress
    error: Fault | None
    cost: ExecutionCost
    created_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    forked_from: ForkedFrom | None


class ExecutionResponse(ExecutionSummary):
    """The whole execution, and the first of its steps."""

    inputs: dict[str, Any]
    outputs: Any
    metadata: dict[str, Any]
    series: int = Field(description="1, and one more for each retry.")
    duration_seconds: float | None = Field(description="From its beginning to its end.")
    queued_at: Timestamp
    updated_at: Timestamp
    paused_at: Timestamp | None
    cancel_requested_at: Timestamp | None
    legal_hold: LegalHoldNote | None = Field(
        None, description="While there is one, nothing of the execution is deleted."
    )
    log: list[LogEntry]
    graph: Graph
    steps: list[StepItem] = Field(description="In the order in which they began, at most 100.")
    steps_next: str | None = Field(description="`cursor` of `…/steps` for those that follow.")
    created_by: str
    request_id: str | None
    trace_id: str | None
    api_version: Literal["v1"] = "v1"


class ExecutionAccepted(BaseModel):
    """The execution is stored and will end in a final state."""

    execution_id: str = Field(examples=[EXAMPLE_ID])
    workflow_id: str
    name: str = Field(examples=["content-analysis"])
    digest: str = Field(examples=[EXAMPLE_DIGEST])
    status: ExecutionStatus = Field(examples=[ExecutionStatus.QUEUED])
    queued_at: Timestamp = Field(examples=[EXAMPLE_TIME])
    message: str = Field(examples=["Execution accepted and queued."])
    execution: ExecutionResponse | None = Field(
        None, description="The whole execution, when `Prefer: wait` was given and it ended in time."
    )
    api_version: Literal["v1"] = "v1"


class ExecutionListResponse(BaseModel):
    items: list[ExecutionSummary]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class CurrentStep(BaseModel):
    """A step that has not ended."""

    path: str
    kind: str
    status: StepStatus
    since: Timestamp
    attempt: int
    waits_for: WaitsFor | None


class StepCounts(BaseModel):
    """``total``, ``ended`` and ``failed`` are as of the driver's last word; the others are counted up to 1000."""

    total: int
    ended: int
    failed: int
    queued: int
    processing: int
    waiting: int
    awaiting_approval: int


class ExecutionStatusResponse(BaseModel):
    execution_id: str
    status: ExecutionStatus
    progress_percentage: float
    current_steps: list[CurrentStep] = Field(description="Steps that have not ended, at most 50.")
    counts: StepCounts
    error: Fault | None
    updated_at: Timestamp
    api_version: Literal["v1"] = "v1"


class LogLineItem(BaseModel):
    seq: int = Field(description="Place in the order of the execution's events.")
    at: Timestamp | None
    level: Level
    path: str | None = Field(description="Of the step; null for what is about the whole execution.")
    message: str


class LogsResponse(BaseModel):
    items: list[LogLineItem]
    next_cursor: int | None = Field(description="`after` for the lines that follow; null when these were the last.")
    api_version: Literal["v1"] = "v1"


class SignalResponse(BaseModel):
    delivered: int = Field(description="1 when a step that waited for it has taken it, else 0.")
    kept: bool = Field(description="Whether it is kept for a step that will wait for it.")
    api_version: Literal["v1"] = "v1"


class ExecutionWhyResponse(BaseModel):
    """What the execution waits for, in words and in facts."""

    execution_id: str
    status: ExecutionStatus
    waiting_for: str = Field(examples=["approval", "worker", "steps", "nothing"])
    explanation: str
    facts: dict[str, Any]
    api_version: Literal["v1"] = "v1"
