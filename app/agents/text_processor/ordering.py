"""From a task's words to a typed operation on a text. The model points at the text; it is cut out here. Pure."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.agents.contracts import AgentInputInvalid
from app.agents.text_processor.contract import LONGEST_TEXT, Operation, TextInput
from app.agents.text_processor.quoting import QuotableText
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Message

DEFAULT_WORDS = 150
_FIELD_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_FIXES = {
    "operation": "ask for its sentiment, a summary, a label, fields or a translation",
    "text": "put the text into the task, or hand it in as input.text",
    "labels": "name the labels to choose from in the task, or hand them in as input.labels",
    "fields": "name the fields to be extracted in the task, or hand in a JSON Schema as input.schema",
    "language": "name the target language in the task, or hand it in as input.language",
}


class WantedField(BaseModel):
    """One fact that is to be extracted."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: str = Field(description="In snake_case.")
    type: Literal["string", "number", "integer", "boolean"]
    description: str


class TextOrder(BaseModel):
    """What the user wants done, and where the text is that it is to be done to."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    operation: Operation
    material: Literal["message", "handed_in", "previous_answer"] = Field(description="Where the text is.")
    begins_with: str = Field(description="The text's first words, word for word, when it is part of the message.")
    ends_with: str = Field(description="The text's last words, word for word, when it is part of the message.")
    labels: list[str] = Field(description="For classify.")
    fields: list[WantedField] = Field(description="For extract.")
    language: str = Field(description="In English, such as French; empty when none is named.")
    max_words: int = Field(description="The most words of a summary; 0 when none is named.")
    missing: Literal["nothing", "operation", "text", "labels", "fields", "language"]


def is_complete(given: TextInput) -> bool:
    """Whether no model has to read the task: the text may be all of it."""
    return given.operation is not None


def complete(given: TextInput, task: str) -> TextInput:
    """With a text: the task itself when no other was handed in. Raises `AgentInputInvalid` for one that is too long."""
    if given.text is None and len(task) > LONGEST_TEXT:
        raise AgentInputInvalid(f"the task has more than {LONGEST_TEXT} characters of text")
    return given if given.text is not None else given.model_copy(update={"text": task})


def carried_out(order: TextOrder, given: TextInput, task: str, history: Sequence[Message]) -> TextInput:
    """The order as typed input; what the client gave itself outranks what the model read.

    Raises `AgentInputInvalid` when the task lacks something, `AgentOutputInvalid` when the order is not possible.
    """
    # A model that overlooks what was handed in beside the message is not believed.
    if order.missing != "nothing" and getattr(given, order.missing) is None:
        raise AgentInputInvalid(f"the task lacks its {order.missing}: {_FIXES[order.missing]}", missing=order.missing)
    read: dict[str, Any] = {
        "operation": order.operation,
        "text": given.text or _material(order, task, history),
        "labels": order.labels if order.operation is Operation.CLASSIFY else None,
        "schema": _schema(order.fields) if order.operation is Operation.EXTRACT else None,
        "language": order.language.strip() or None,
        "max_words": order.max_words or None,
    }
    own = given.model_dump(exclude_none=True)
    try:
        return TextInput.model_validate({**read, **own})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:5])
        raise AgentOutputInvalid(f"the order cannot be carried out: {told[:500]}") from error


def _material(order: TextOrder, task: str, history: Sequence[Message]) -> str:
    if order.material == "handed_in":
        raise AgentOutputInvalid("material: no text was handed in beside the message")
    if order.material == "previous_answer":
        return _previous_answer(history)
    quotable = QuotableText(task)
    begin = quotable.find(order.begins_with) if order.begins_with.strip() else (0, 0)
    if begin is None:
        raise AgentOutputInvalid("begins_with: these words are not in the message")
    end = quotable.find(order.ends_with, start=begin[0], last=True) if order.ends_with.strip() else (0, len(task))
    if end is None:
        raise AgentOutputInvalid("ends_with: these words are not in the message behind begins_with")
    return task[begin[0] : max(end[1], begin[1])].strip()


def _previous_answer(history: Sequence[Message]) -> str:
    answer = next((message.content for message in reversed(history) if message.role == "assistant"), None)
    if answer is None:
        raise AgentOutputInvalid("material: there is no previous answer")
    if len(answer) > LONGEST_TEXT:
        raise AgentInputInvalid(f"the previous answer has more than {LONGEST_TEXT} characters; hand in a part of it")
    return answer


def _schema(fields: Sequence[WantedField]) -> dict[str, Any]:
    """A field may be absent from the text, so each may be null."""
    properties = {
        _FIELD_NAME.sub("_", one.name.strip()): {"type": [one.type, "null"], "description": one.description[:200]}
        for one in fields
    }
    return {"type": "object", "properties": properties, "required": list(properties)}
