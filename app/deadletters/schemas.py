"""What crosses the wire for dead letters. Field names are a contract: add, never rename or remove."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.deadletters.service import MOST_REDRIVEN
from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp
from app.tasks.schemas import EXAMPLE_ID, HistoryItem, TaskError


class DeadLetter(BaseModel):
    """A task that failed for good."""

    task_id: str = Field(examples=[EXAMPLE_ID])
    error: TaskError
    attempts: int = Field(description="Attempts of the last series.")
    max_attempts: int
    failed_at: Timestamp
    created_at: Timestamp
    selected_agent: str | None
    agent_type: str | None
    session_id: str
    history: list[HistoryItem] = Field(description="Every state change of every series.")


class DeadLetterResponse(DeadLetter):
    api_version: Literal["v1"] = "v1"


class DeadLetterListResponse(BaseModel):
    items: list[DeadLetter]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class RedriveRequest(BaseModel):
    """Which dead letters to queue again: a filter, or all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"error_type": "LLM_ERROR", "limit": 100}, {"all": True}]},
    )

    error_type: str | None = Field(None, min_length=1, max_length=64)
    agent_type: str | None = Field(None, min_length=1, max_length=64)
    failed_after: datetime | None = Field(None, description="Failed at or after this time.")
    failed_before: datetime | None = Field(None, description="Failed before this time.")
    limit: int = Field(100, ge=1, le=MOST_REDRIVEN, strict=True, description="How many at most, the oldest first.")
    all: bool = Field(False, strict=True, description="Needed when no filter is given.")


class RedriveResponse(BaseModel):
    redriven: int
    task_ids: list[str] = Field(description="Those that are queued again because of this request.")
    remaining: bool = Field(description="True when more dead letters matched than the limit.")
    api_version: Literal["v1"] = "v1"
