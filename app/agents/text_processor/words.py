"""The result of an operation in words. Pure."""

import json
from typing import assert_never

from app.agents.markdown import summarize
from app.agents.text_processor.answers import Result
from app.agents.text_processor.contract import (
    ExtractionResult,
    LabelResult,
    SentimentResult,
    SummaryResult,
    TranslationResult,
)


def summary_of(result: Result) -> str:
    match result:
        case SentimentResult():
            return f"The text is {result.sentiment} (score {result.score:+.2f})."
        case SummaryResult():
            return summarize(result.summary, fallback=result.summary)
        case LabelResult():
            return f"The label is {result.label}."
        case ExtractionResult():
            found = sum(value is not None for value in result.fields.values())
            return f"{found} of {len(result.fields)} fields were found in the text."
        case TranslationResult():
            return f"Translated from {result.source_language} into {result.target_language}."
        case _:
            assert_never(result)


def report(result: Result) -> str:
    match result:
        case SentimentResult():
            return "\n".join([summary_of(result), "", *(f"> {' '.join(quote.split())}" for quote in result.quotes)])
        case SummaryResult():
            return result.summary
        case LabelResult():
            return f"{result.label}\n\n{result.reason}".strip()
        case ExtractionResult():
            return f"```json\n{json.dumps(result.fields, indent=2, ensure_ascii=False)}\n```"
        case TranslationResult():
            return result.translation
        case _:
            assert_never(result)
