"""What crosses the wire when work is scored. Field names are a contract: add, never rename or remove."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.governance.scoring.schemas import WorkScores
from app.tasks.schemas import TaskInput, TaskLimits, TaskText

StepPath = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class ScoreRequest(BaseModel):
    """A task as `execute` takes it, or a step of a stored workflow."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"task": "Delete the records of customers who left.", "agent": "CodeAgent", "budget": {"usd": 0.5}},
                {"workflow": "content-analysis", "step": "sentiment"},
            ]
        },
    )

    task: TaskText | None = Field(None, description="What is to be done, in words.")
    workflow: str | None = Field(None, min_length=1, max_length=128, description="The `workflow_id` or the name.")
    step: StepPath | None = Field(
        None, description="Where the step is in the workflow, without numbers of items.", examples=["review.fix"]
    )
    agent: str | None = Field(
        None, min_length=1, max_length=64, description="Who is to do the task; else the best aligned agent is assumed."
    )
    input: TaskInput | None = Field(
        None, description="The typed input of the task; for a step what it is given, instead of its `with`."
    )
    budget: TaskLimits | None = Field(None, description="Limits of what it may consume; over those of the step.")
    deadline_seconds: float | None = Field(None, ge=0.001, le=7 * 86_400, description="When it has to be done.")

    @model_validator(mode="after")
    def _is_about_one_thing(self) -> Self:
        if (self.task is None) == (self.workflow is None):
            raise ValueError("give either task, or workflow and step")
        if (self.workflow is None) != (self.step is None):
            raise ValueError("workflow and step belong together")
        if self.step is not None and self.agent is not None:
            raise ValueError("a step says itself which agent it is for; leave agent out")
        return self


class ScoreResponse(WorkScores):
    kind: Literal["task", "step"]
    api_version: Literal["v1"] = "v1"
