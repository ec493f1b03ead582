"""Reads a text for its sentiment, its gist, its label or its facts, or translates it.

::

    START ─► order ─► answer ─► END

`order` turns the task's words into a typed operation; a task that brings one needs no model there. `answer` carries it
out. What a model answers is checked, and a refused answer is asked for once more with the reason.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from langgraph.graph import END, START
from langgraph.runtime import Runtime
from pydantic import BaseModel

from app.agents.base import AgentOutput
from app.agents.graphs import AgentState, Graph, GraphAgent, Work
from app.agents.prompt import load_prompt
from app.agents.text_processor.answers import ANSWERS, result_of
from app.agents.text_processor.contract import Operation, TextInput, TextOutput
from app.agents.text_processor.ordering import DEFAULT_WORDS, TextOrder, carried_out, complete, is_complete
from app.agents.text_processor.words import report, summary_of
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Message, correction
from app.llm.usage import ModelRole

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")


class TextState(AgentState, total=False):
    order: dict[str, Any]
    result: dict[str, Any]


class TextProcessorAgent(GraphAgent[TextState]):
    state = TextState

    def build(self, graph: Graph) -> None:
        graph.add_node("order", self.order)
        graph.add_node("answer", self.answer)
        graph.add_edge(START, "order")
        graph.add_edge("order", "answer")
        graph.add_edge("answer", END)

    async def order(self, state: TextState, runtime: Runtime[Work]) -> dict[str, object]:
        """Raises `AgentInputInvalid` when the task lacks what its operation needs."""
        work, task = runtime.context, state["task"]
        given = _typed(work.request.inputs)
        if is_complete(given):
            return {"order": _plain(complete(given, task))}
        history = work.request.history
        handed_in = "A text was handed in beside the message." if given.text else "No text was handed in."
        system = Message("system", load_prompt("text_order").render(handed_in=handed_in))
        asked = (system, *history[-2:], Message("user", task))
        order = await _ask(work, asked, TextOrder, lambda said: carried_out(said, given, task, history))
        return {"order": _plain(order)}

    async def answer(self, state: TextState, runtime: Runtime[Work]) -> dict[str, object]:
        """Raises `AgentOutputInvalid` when the second answer is not usable either."""
        order = _typed(state["order"])
        operation = Operation(str(order.operation))
        asked = (Message("system", load_prompt(f"text_{operation}").render()), Message("user", _material(order)))
        result = await _ask(runtime.context, asked, ANSWERS[operation], lambda said: result_of(said, order))
        return {"result": TextOutput(result).model_dump(mode="json")}

    def output(self, state: TextState) -> AgentOutput:
        result = TextOutput.model_validate(state["result"]).root
        return AgentOutput(summary=summary_of(result), raw_output=report(result), data=state["result"])


async def _ask(work: Work, asked: tuple[Message, ...], schema: type[M], check: Callable[[M], R]) -> R:
    """What is made of the answer, or of the second one when the first is refused."""
    chat, messages = work.tools.chat, (*asked, *work.request.corrections)
    try:
        answer = (await chat.structured(ModelRole.TEXT, messages, schema)).value
        # Tens of thousands of extracted values take seconds to check against a schema.
        return await asyncio.to_thread(check, answer)
    except AgentOutputInvalid as error:
        if not error.retryable:
            raise
        again = (*messages, correction(error.message))
    return await asyncio.to_thread(check, (await chat.structured(ModelRole.TEXT, again, schema)).value)


def _material(order: TextInput) -> str:
    text = order.text or ""
    # Nobody can write a text that holds its own digest, so nothing in it can pass for the end of it.
    boundary = hashlib.sha256(text.encode()).hexdigest()[:16]
    return load_prompt("text_material").render(parameters=_parameters(order), boundary=boundary, text=text)


def _parameters(order: TextInput) -> str:
    wanted: dict[str, Any] = {
        "labels": order.labels if order.operation is Operation.CLASSIFY else None,
        "schema": order.fields if order.operation is Operation.EXTRACT else None,
        "language": order.language,
        "max_words": (order.max_words or DEFAULT_WORDS) if order.operation is Operation.SUMMARISE else None,
    }
    return json.dumps({name: value for name, value in wanted.items() if value is not None}, ensure_ascii=False)


def _typed(inputs: Mapping[str, Any]) -> TextInput:
    return TextInput.model_validate_json(json.dumps(inputs))


def _plain(order: TextInput) -> dict[str, Any]:
    dumped: dict[str, Any] = order.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped
