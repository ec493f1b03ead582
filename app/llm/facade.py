"""What the facades of the models have in common, so that each states only what it adds."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from pydantic import BaseModel

from app.llm.messages import A, Asked, Chat, Completion, M, Message, OnToken, Structured


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(ABC, Generic[A]):
    """One call that is about to be made; a facade may put another one in its place."""

    role: Asked
    messages: Sequence[Message]
    max_tokens: int | None = None
    schema: type[BaseModel] | None = None

    @abstractmethod
    async def put_to(self, chat: Chat) -> A: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuestion(Question[Completion]):
    on_token: OnToken | None = None

    async def put_to(self, chat: Chat) -> Completion:
        return await chat.complete(self.role, self.messages, max_tokens=self.max_tokens, on_token=self.on_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredQuestion(Question[Structured[M]]):
    schema: type[M]

    async def put_to(self, chat: Chat) -> Structured[M]:
        return await chat.structured(self.role, self.messages, self.schema)


class ChatFacade:
    """A `Chat` that hands every call on; a facade overrides what becomes of a question."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def model_name(self, role: Asked) -> str:
        return self._chat.model_name(role)

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        return await self._ask(TextQuestion(role=role, messages=messages, max_tokens=max_tokens, on_token=on_token))

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        return await self._ask(StructuredQuestion(role=role, messages=messages, schema=schema))

    async def _ask(self, question: Question[A]) -> A:
        return await question.put_to(self._chat)
