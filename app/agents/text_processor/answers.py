"""What a model answers for each operation, and what of it is believed. Pure."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, Field

from app.agents.text_processor.contract import (
    Evidence,
    ExtractionResult,
    LabelResult,
    Operation,
    Sentiment,
    SentimentResult,
    SummaryResult,
    TextInput,
    TranslationResult,
)
from app.agents.text_processor.ordering import DEFAULT_WORDS
from app.agents.text_processor.quoting import QuotableText
from app.llm.errors import AgentOutputInvalid

MOST_PROBLEMS = 5
MOST_QUOTES = 5
MOST_EVIDENCE = 200
LONGEST_NUMBER = 18
# A translation much longer than that is something else.
MOST_GROWTH = 5
Result = SentimentResult | SummaryResult | LabelResult | ExtractionResult | TranslationResult
A = TypeVar("A", bound=BaseModel)


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class SentimentAnswer(Answer):
    """The feeling of the author of a text towards its subject."""

    sentiment: Sentiment
    score: float = Field(ge=-1, le=1, description="From -1, negative, to 1, positive.")
    quotes: list[str] = Field(description="One to five passages that show it, word for word.")


class SummaryAnswer(Answer):
    """A text in fewer words."""

    summary: str


class LabelAnswer(Answer):
    """The one label that fits a text."""

    label: str = Field(description="Exactly one of the given labels.")
    confidence: float = Field(ge=0, le=1)
    reason: str = Field(description="One short sentence.")


class FieldEvidence(Answer):
    """Where a field's value comes from."""

    field: str = Field(description="A member of the object.")
    quote: str = Field(description="The passage that says so, word for word.")


class ExtractionAnswer(Answer):
    """The facts of a text as a JSON object."""

    fields_json: str = Field(description="The object, as JSON.")
    evidence: list[FieldEvidence]


class TranslationAnswer(Answer):
    """A text in another language."""

    translation: str
    source_language: str = Field(description="In English, such as German.")


ANSWERS: Mapping[Operation, type[Answer]] = {
    Operation.SENTIMENT: SentimentAnswer,
    Operation.SUMMARISE: SummaryAnswer,
    Operation.CLASSIFY: LabelAnswer,
    Operation.EXTRACT: ExtractionAnswer,
    Operation.TRANSLATE: TranslationAnswer,
}


def result_of(answer: Answer, given: TextInput) -> Result:
    """Raises `AgentOutputInvalid` that says what is wrong without repeating the answer or the text."""
    text = given.text or ""
    match answer:
        case SentimentAnswer():
            return _sentiment(answer, text)
        case SummaryAnswer():
            return _summary(answer, given.max_words or DEFAULT_WORDS)
        case LabelAnswer():
            return _label(answer, given.labels or [])
        case ExtractionAnswer():
            return _extraction(answer, text, given.fields or {})
        case TranslationAnswer():
            return _translation(answer, text, given.language or "")
    raise TypeError(type(answer).__name__)


def _sentiment(answer: SentimentAnswer, text: str) -> SentimentResult:
    signs = {Sentiment.POSITIVE: answer.score > 0, Sentiment.NEGATIVE: answer.score < 0}
    if not signs.get(answer.sentiment, True):
        raise AgentOutputInvalid(f"score: a {answer.sentiment} text has a score of that sign")
    if not 1 <= len(answer.quotes) <= MOST_QUOTES:
        raise AgentOutputInvalid(f"quotes: give one to {MOST_QUOTES}")
    quotable = QuotableText(text)
    for number, quote in enumerate(answer.quotes, start=1):
        if quotable.find(quote) is None:
            raise AgentOutputInvalid(f"quotes: number {number} is not in the text word for word")
    return SentimentResult(operation="sentiment", sentiment=answer.sentiment, score=answer.score, quotes=answer.quotes)


def _summary(answer: SummaryAnswer, most: int) -> SummaryResult:
    summary, words = answer.summary.strip(), len(answer.summary.split())
    if not words:
        raise AgentOutputInvalid("summary: it is empty")
    if words > most:
        raise AgentOutputInvalid(f"summary: it has {words} words; at most {most} are wanted")
    return SummaryResult(operation="summarise", summary=summary, words=words)


def _label(answer: LabelAnswer, labels: list[str]) -> LabelResult:
    known = {label.strip().casefold(): label for label in labels}
    label = known.get(answer.label.strip().casefold())
    if label is None:
        raise AgentOutputInvalid(f"label: it is none of {', '.join(labels)}"[:500])
    return LabelResult(operation="classify", label=label, confidence=answer.confidence, reason=answer.reason.strip())


def _extraction(answer: ExtractionAnswer, text: str, schema: Mapping[str, Any]) -> ExtractionResult:
    fields = _parsed(answer.fields_json)
    broken = sorted(Draft202012Validator(schema).iter_errors(fields), key=lambda error: error.json_path)
    if broken:
        told = "; ".join(f"{one.json_path}: {one.validator} is not satisfied" for one in broken[:MOST_PROBLEMS])
        raise AgentOutputInvalid(f"fields_json: {told}")
    quotable = QuotableText(text)
    evidence = [_evidence(one, text, quotable, fields) for one in answer.evidence[:MOST_EVIDENCE]]
    shown = {one.field for one in evidence}
    for name, value in fields.items():
        if value not in (None, "", [], {}) and name not in shown:
            raise AgentOutputInvalid(f"evidence: {name} has a value and no quote; without one its value is null")
    return ExtractionResult(operation="extract", fields=fields, evidence=evidence)


def _parsed(fields_json: str) -> dict[str, Any]:
    try:
        fields = json.loads(fields_json, parse_constant=float, parse_int=_integer)
        json.dumps(fields, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise AgentOutputInvalid("fields_json: it is not JSON, or a number in it is too long") from error
    if not isinstance(fields, dict):
        raise AgentOutputInvalid("fields_json: it is not an object")
    return fields


def _integer(digits: str) -> int:
    # A checkpoint has 64 bits for a number.
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"more than {LONGEST_NUMBER} digits")
    return int(digits)


def _evidence(one: FieldEvidence, text: str, quotable: QuotableText, fields: Mapping[str, Any]) -> Evidence:
    if one.field not in fields:
        raise AgentOutputInvalid("evidence: it names a field that the object does not have")
    place = quotable.find(one.quote)
    if place is None:
        raise AgentOutputInvalid(f"evidence: the quote for {one.field} is not in the text word for word")
    return Evidence(field=one.field, quote=text[slice(*place)], start=place[0], end=place[1])


def _translation(answer: TranslationAnswer, text: str, language: str) -> TranslationResult:
    translation = answer.translation.strip()
    if not translation:
        raise AgentOutputInvalid("translation: it is empty")
    if len(translation) > MOST_GROWTH * len(text) + 200:
        raise AgentOutputInvalid("translation: it is several times as long as the text")
    return TranslationResult(
        operation="translate",
        translation=translation,
        source_language=answer.source_language.strip()[:40] or "unknown",
        target_language=language,
    )
