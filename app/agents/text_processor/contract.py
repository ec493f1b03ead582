"""What the TextProcessorAgent takes and what it gives. Light: the API process imports it."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator, model_validator

from app.agents.text_processor.field_schema import check_field_schema

LONGEST_TEXT = 100_000
MOST_WORDS = 5000

# They go into a prompt as they are, so they hold nothing but a name.
Label = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]
Language = Annotated[str, Field(max_length=40, pattern=r"^[^\W\d_][\w ()-]*$")]


class Operation(StrEnum):
    SENTIMENT = "sentiment"
    SUMMARISE = "summarise"
    CLASSIFY = "classify"
    EXTRACT = "extract"
    TRANSLATE = "translate"


class TextInput(BaseModel):
    """A text and what to do with it. What is left out is read out of the task's words."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, serialize_by_alias=True)

    operation: Operation | None = Field(None, description="Without it, the task's words say what to do.")
    text: str | None = Field(
        None, max_length=LONGEST_TEXT, pattern=r"\S", description="Without it, the text is the task, or in it."
    )
    labels: list[Label] | None = Field(
        None, min_length=2, max_length=50, description="For `classify`: the labels to choose from."
    )
    fields: dict[str, Any] | None = Field(
        None,
        alias="schema",
        description="For `extract`: a JSON Schema of an object; objects, arrays, enums, bounds, but no references.",
    )
    language: Language | None = Field(None, description="For `translate` the target language; else the answer's.")
    max_words: int | None = Field(None, ge=5, le=MOST_WORDS, description="For `summarise`: the most words.")

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len({label.strip().casefold() for label in value}) < len(value):
            raise ValueError("the labels must differ in more than case")
        return value

    @field_validator("fields")
    @classmethod
    def _schema_is_understood(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else check_field_schema(value)

    @model_validator(mode="after")
    def _has_what_its_operation_needs(self) -> Self:
        needed = {
            Operation.CLASSIFY: ("labels", self.labels),
            Operation.EXTRACT: ("schema", self.fields),
            Operation.TRANSLATE: ("language", self.language),
        }
        for operation, (name, value) in needed.items():
            if self.operation is operation and value is None:
                raise ValueError(f"{operation} needs {name}")
        return self


class Sentiment(StrEnum):
    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"
    MIXED = "mixed"


class SentimentResult(BaseModel):
    """`quotes` are in the text word for word."""

    operation: Literal["sentiment"]
    sentiment: Sentiment
    score: float = Field(ge=-1, le=1, description="From -1, negative, to 1, positive.")
    quotes: list[str]


class SummaryResult(BaseModel):
    operation: Literal["summarise"]
    summary: str
    words: int


class LabelResult(BaseModel):
    operation: Literal["classify"]
    label: str
    confidence: float = Field(ge=0, le=1)
    reason: str


class Evidence(BaseModel):
    """Where a field's value was found: the text's characters from `start` to before `end`, from 0."""

    field: str
    quote: str
    start: int
    end: int


class ExtractionResult(BaseModel):
    """`fields` satisfies the caller's schema; each of its members that is not null has evidence."""

    operation: Literal["extract"]
    fields: dict[str, Any]
    evidence: list[Evidence]


class TranslationResult(BaseModel):
    operation: Literal["translate"]
    translation: str
    source_language: str
    target_language: str


class TextOutput(
    RootModel[
        Annotated[
            SentimentResult | SummaryResult | LabelResult | ExtractionResult | TranslationResult,
            Field(discriminator="operation"),
        ]
    ]
):
    """The result of one operation."""
