"""What crosses the wire for the attempts at a task or a step. Field names are a contract: add, never rename."""

from typing import Literal

from pydantic import BaseModel, Field

from app.http.timestamps import Timestamp
from app.tasks.schemas import TaskError


class AttemptCost(BaseModel):
    usd: float
    tokens: int
    model_calls: int


class AttemptEvidence(BaseModel):
    """An artifact that proves what was decided; the list of artifacts has it by its `sha256`."""

    kind: str = Field(examples=["evaluation"])
    sha256: str
    name: str | None = Field(None, examples=["evaluation-1.json"])


class AttemptItem(BaseModel):
    """One attempt, told by the job's history: one whose worker was killed is there as well."""

    seq: int = Field(description="Place among all attempts ever made, from 1.")
    series: int = Field(description="1, and one more for each retry by hand.")
    number: int = Field(description="Within its series; one that is not charged leaves its number to the next.")
    charged: bool = Field(description="Whether it counts against the retries.")
    outcome: str = Field(
        description="`running`, `completed`, `failed`, `cancelled`, or why it was given back: `retry_scheduled`, "
        "`worker_lost`, `isolated`, `worker_draining`, `evaluated`, `suspended`, `deferred`, …",
        examples=["worker_lost"],
    )
    started_at: Timestamp
    ended_at: Timestamp | None
    worker: str | None = Field(None, description="Null for those of older versions.")
    error: TaskError | None
    agent: str | None = Field(None, description="Who worked; null when nobody had begun, or its worker was lost.")
    models: list[str] = Field(description="Those that were asked.")
    agent_runs: list[str] = Field(description="`run_id` of the runs of agents in it; steps have none.")
    cost: AttemptCost | None = Field(
        None, description="Null when nothing is noted. What a lost attempt had saved is part of the next one's."
    )
    recording: str | None = Field(None, description="`sha256` of its recording.")
    replayable: bool = Field(description="Whether it has a recording: `orchestrate replay` runs it again.")
    evidence: list[AttemptEvidence]


class AttemptListResponse(BaseModel):
    items: list[AttemptItem]
    next_cursor: int | None = Field(description="`after` for the attempts that follow; null when these were the last.")
    api_version: Literal["v1"] = "v1"
