"""What crosses the wire of the verdict on an output."""

from typing import Any

from pydantic import BaseModel, Field


class EvaluationCheck(BaseModel):
    """What one check, or an evaluator of a package, found."""

    name: str
    passed: bool
    score: float
    message: str = Field(description="What is wrong; empty when it passed.")
    weight: float
    details: dict[str, Any]


class EvaluationCriterion(BaseModel):
    """A model's judgement by one criterion of the rubric."""

    name: str
    score: float
    reason: str
    quote: str = Field(description="Words of the output that show it.")
    confidence: float
    weight: float


class Evaluation(BaseModel):
    """The verdict on the last output."""

    passed: bool
    score: float = Field(description="The weighted mean of checks and rubric, from 0 to 1.")
    threshold: float = Field(description="The score that was needed.")
    checks: list[EvaluationCheck]
    criteria: list[EvaluationCriterion]
    rounds: int = Field(description="How often the agent did its work.")


class Review(BaseModel):
    """What a person said of an output that did not pass."""

    decision: str = Field(examples=["accept", "reject"])
    comment: str | None
    by: str = Field(description="The id of the reviewer's key.")
