"""What crosses the wire for evaluators. Field names are a contract: add, never rename or remove."""

from typing import Literal

from pydantic import BaseModel, Field

from app.governance.evaluation.plugins import InstalledEvaluator


class EvaluatorResponse(BaseModel):
    """What an installed package can check an output for."""

    name: str = Field(description="For a check of the type `evaluator`.", examples=["polite"])
    description: str
    origin: str = Field(description="Name and version of the package that brings it.", examples=["tone 1.0.0"])


class EvaluatorListResponse(BaseModel):
    items: list[EvaluatorResponse]
    api_version: Literal["v1"] = "v1"


def described(evaluator: InstalledEvaluator) -> EvaluatorResponse:
    spec = evaluator.spec
    return EvaluatorResponse(name=spec.name, description=spec.description, origin=evaluator.origin)
