from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from app.llm.facade import ChatFacade, Question
from app.llm.messages import A, Asked, Completion, M, Message, OnToken, Structured
from app.llm.usage import NO_USAGE, ModelRole

MESSAGES = (Message("user", "hello"),)


class Greeting(BaseModel):
    word: str = "hello"


@dataclass
class Listening:
    """Notes what it is asked."""

    heard: list[dict[str, Any]] = field(default_factory=list)

    def model_name(self, role: Asked) -> str:
        return f"the model of {role}"

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        self.heard.append({"role": role, "messages": messages, "max_tokens": max_tokens, "on_token": on_token})
        return Completion("hi", "m", NO_USAGE)

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        self.heard.append({"role": role, "messages": messages, "schema": schema})
        return Structured(schema(), "m", NO_USAGE)


class Shouting(ChatFacade):
    async def _ask(self, question: Question[A]) -> A:
        louder = tuple(replace(one, content=one.content.upper()) for one in question.messages)
        return await super()._ask(replace(question, messages=louder))


async def test_a_facade_that_adds_nothing_hands_on_everything_and_gives_back_the_answer() -> None:
    chat = Listening()
    facade = ChatFacade(chat)

    text = await facade.complete(ModelRole.TEXT, MESSAGES, max_tokens=7, on_token=print)
    shaped = await facade.structured(ModelRole.TEXT, MESSAGES, Greeting)

    assert (text.text, shaped.value, facade.model_name(ModelRole.TEXT)) == (
        "hi",
        Greeting(),
        chat.model_name(ModelRole.TEXT),
    )
    assert chat.heard == [
        {"role": ModelRole.TEXT, "messages": MESSAGES, "max_tokens": 7, "on_token": print},
        {"role": ModelRole.TEXT, "messages": MESSAGES, "schema": Greeting},
    ]


async def test_a_facade_changes_both_kinds_of_questions_in_one_place_and_nothing_else_of_them() -> None:
    chat = Listening()
    facade = Shouting(chat)

    await facade.complete(ModelRole.TEXT, MESSAGES, max_tokens=7, on_token=print)
    await facade.structured(ModelRole.TEXT, MESSAGES, Greeting)

    louder = (Message("user", "HELLO"),)
    assert chat.heard == [
        {"role": ModelRole.TEXT, "messages": louder, "max_tokens": 7, "on_token": print},
        {"role": ModelRole.TEXT, "messages": louder, "schema": Greeting},
    ]
