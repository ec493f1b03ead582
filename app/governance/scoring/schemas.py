"""What crosses the wire of scores. Field names are a contract: add, never rename or remove."""

from pydantic import BaseModel, Field

from app.governance.scoring.models import Scores


class ScoreFeature(BaseModel):
    """What was found, and what it does to the score."""

    name: str = Field(examples=["abilities"])
    value: float = Field(description="From 0 to 1.")
    weight: float = Field(description="Below 0 where it lowers the score.")
    contribution: float = Field(description="`value` times `weight`.")


class Score(BaseModel):
    """`base` and all contributions, kept between 0 and 1 and rounded to four places."""

    value: float
    base: float
    features: list[ScoreFeature]


class ScoresByName(BaseModel):
    feasibility: Score = Field(description="Whether it can end well: 1 when nothing is in its way.")
    alignment: Score = Field(description="Whether it is work for this agent.")
    risk: Score = Field(description="What may go wrong: 0 when nothing hints at it.")
    cost: Score = Field(description="What one attempt may come to, against other work.")


class CostEstimate(BaseModel):
    """What one attempt would consume, by rule of thumb."""

    usd: float | None = Field(description="By list price; null when the price of the model is not known.")
    tokens: int
    model_calls: int
    wall_seconds: float


class WorkScores(BaseModel):
    """The scores of a task or a step, made before it runs."""

    scoring_version: int = Field(description="Names the formula; what a version says never changes.", examples=[1])
    agent: str | None = Field(
        description="Who would do it: the named agent, else the one it is aligned with best; null where none does."
    )
    scores: ScoresByName
    estimate: CostEstimate


def described(scores: Scores) -> WorkScores:
    return WorkScores.model_validate(scores.as_document())
