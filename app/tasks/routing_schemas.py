"""What crosses the wire about where a task goes."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.jobs.models import Status
from app.tasks.schemas import EXAMPLE_ID, Cost, Routing, SessionId, TaskError, TaskInput, TaskText


class RouteRequest(BaseModel):
    """A task as `execute` takes it, to be routed and no more."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"task": "Write a Python function that reverses a string."}]},
    )

    task: TaskText = Field(description="As for `execute`.")
    session_id: SessionId | None = Field(None, description="A session that the task would go on with.")
    input: TaskInput = Field(default_factory=dict, description="As for `execute`.")


class RouteResponse(BaseModel):
    """Where the task would go, and why. Nothing is decided before `status` is `completed`."""

    task_id: str = Field(description="Of the dry run, which can be read for an hour.", examples=[EXAMPLE_ID])
    status: Status = Field(examples=[Status.COMPLETED])
    selected_agent: str | None = Field(description="Null when the task would go nowhere.", examples=["CodeAgent"])
    agent_type: str | None = Field(examples=["code"])
    routing: Routing | None
    error: TaskError | None = Field(description="What the task would fail with, if it would go nowhere.")
    cost: Cost = Field(description="What finding out has cost.")
    api_version: Literal["v1"] = "v1"


class ClarifyRequest(BaseModel):
    """Which agent a task is for: its name, or other words that are added to the task."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"agent": "CodeAgent"}, {"text": "I mean the function, not the article."}]},
    )

    agent: str | None = Field(None, min_length=1, max_length=64, description="The agent, without routing again.")
    text: TaskText | None = Field(None, description="More words; the task is routed again with them.")

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.agent is None) == (self.text is None):
            raise ValueError("give either agent or text")
        return self
