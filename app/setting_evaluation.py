"""How outputs are evaluated, as settings and requests write it."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_settings import BaseSettings, NoDecode

from app.setting_types import JsonObject

MOST_CHECKS = 20
MOST_CRITERIA = 10
LARGEST_OPTIONS = 4096
DEFAULT_MINIMUM = 0.7

ShortText = Annotated[str, StringConstraints(pattern=r"\S", max_length=200)]
LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
CriterionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9 _-]{0,63}$")]
EvaluatorName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]


def _is_small(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value)) > LARGEST_OPTIONS:
        raise ValueError(f"it may have at most {LARGEST_OPTIONS} bytes as JSON")
    return value


SmallObject = Annotated[dict[str, Any], AfterValidator(_is_small)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class _Check(_Strict):
    weight: float = Field(1.0, gt=0, le=100, allow_inf_nan=False, description="Its share in the score.")


class JsonSchemaCheck(_Check):
    """The result's `data`, or the JSON in its text, fits a JSON Schema. `pattern` in it is not looked at."""

    type: Literal["json_schema"]
    json_schema: SmallObject = Field(alias="schema")
    source: Literal["data", "text"] = "data"


class LengthCheck(_Check):
    """The text is neither too short nor too long."""

    type: Literal["length"]
    min_words: int | None = Field(None, ge=0, le=1_000_000)
    max_words: int | None = Field(None, ge=1, le=1_000_000)
    min_characters: int | None = Field(None, ge=0, le=10_000_000)
    max_characters: int | None = Field(None, ge=1, le=10_000_000)

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        bounds = (self.min_words, self.max_words, self.min_characters, self.max_characters)
        if all(bound is None for bound in bounds):
            raise ValueError("give at least one of min_words, max_words, min_characters and max_characters")
        return self


class LanguageCheck(_Check):
    """The text is written in one of these languages, by ISO 639-1 code."""

    type: Literal["language"]
    expected: list[LanguageCode] = Field(min_length=1, max_length=20)


class ForbiddenCheck(_Check):
    """None of these texts is in the output; upper and lower case are alike."""

    type: Literal["forbidden"]
    texts: list[ShortText] = Field(min_length=1, max_length=100)
    whole_words: bool = True


class RequiredCheck(_Check):
    """Each of these texts is in the output; upper and lower case are alike."""

    type: Literal["required"]
    texts: list[ShortText] = Field(min_length=1, max_length=100)


class CitationsCheck(_Check):
    """Every mark such as [2] has a citation with a web address, and there are enough of them."""

    type: Literal["citations_valid"]
    minimum: int = Field(1, ge=0, le=100)


class CodeCheck(_Check):
    """Every file of the output, else every fenced block, parses in its language; none is run."""

    type: Literal["code_parses"]


class SecretsCheck(_Check):
    """Nothing that looks like a key or a password is in the output."""

    type: Literal["no_secrets"]


class CustomCheck(_Check):
    """An evaluator of an installed package."""

    type: Literal["evaluator"]
    name: EvaluatorName
    options: SmallObject = Field(default_factory=dict)


Check = Annotated[
    JsonSchemaCheck
    | LengthCheck
    | LanguageCheck
    | ForbiddenCheck
    | RequiredCheck
    | CitationsCheck
    | CodeCheck
    | SecretsCheck
    | CustomCheck,
    Field(discriminator="type"),
]


_KINDS: tuple[type[_Check], ...] = get_args(get_args(Check)[0])
# What the product's own checks are called.
BUILT_IN_CHECKS = frozenset(get_args(kind.model_fields["type"].annotation)[0] for kind in _KINDS)


class Criterion(_Strict):
    """One thing a model judges, on a scale from 1 to 5."""

    name: CriterionName
    description: str = Field(min_length=1, max_length=1000, description="What a good output does.")
    weight: float = Field(1.0, gt=0, le=100, allow_inf_nan=False)


class Rubric(_Strict):
    """What a model judges; with several samples the median of each criterion counts."""

    criteria: list[Criterion] = Field(min_length=1, max_length=MOST_CRITERIA)
    samples: int = Field(1, ge=1, le=5, description="How often the model is asked.")
    weight: float = Field(1.0, gt=0, le=100, allow_inf_nan=False, description="The rubric's share in the score.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({criterion.name for criterion in self.criteria}) < len(self.criteria):
            raise ValueError("criteria need names that differ")
        return self


class EvaluationRequest(_Strict):
    """How an output is evaluated, and what happens when it does not pass."""

    checks: list[Check] = Field(default_factory=list, max_length=MOST_CHECKS)
    rubric: Rubric | None = None
    minimum_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description=f"Of the whole; {DEFAULT_MINIMUM} with a rubric, else none is needed.",
    )
    retries: int = Field(
        1, ge=0, le=3, description="How often the agent is asked again within the attempt, told what was wrong."
    )
    on_failure: Literal["fail", "flag", "accept"] = Field(
        "fail",
        description="After the last try: `fail` with EVALUATION_FAILED, `flag` it for a person in `awaiting_approval`, "
        "or `accept` it with the verdict.",
    )

    @model_validator(mode="after")
    def _evaluates_something(self) -> Self:
        if not self.checks and self.rubric is None:
            raise ValueError("give at least one check or a rubric")
        return self

    @property
    def threshold(self) -> float:
        if self.minimum_score is not None:
            return self.minimum_score
        return DEFAULT_MINIMUM if self.rubric else 0.0

    @property
    def only_observes(self) -> bool:
        """Whether the verdict changes nothing, so that a judge that fails must not either."""
        return self.on_failure == "accept" and not self.retries


class EvaluationPolicy(EvaluationRequest):
    """What a deployment evaluates by default, for the share ``sample_rate`` of an agent's tasks."""

    sample_rate: float = Field(1.0, ge=0, le=1, allow_inf_nan=False)


EvaluationPolicies = Annotated[Mapping[str, EvaluationPolicy], NoDecode, JsonObject, Field(max_length=1000)]


class EvaluationSettings(BaseSettings):
    # --- evaluation of outputs
    evaluation_policies: EvaluationPolicies = Field(
        {},
        description="How outputs are evaluated when a task does not say, as JSON by agent, `*` for others: "
        '`{"ContentAgent": {"sample_rate": 0.1, "checks": [{"type": "citations_valid"}], "retries": 0, "on_failure": '
        '"accept"}}`.',
    )
