"""A model for the CodeAgent: it answers in turn what it was told to, as text or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.llm.messages import Asked, Completion, M, Message, OnToken, Structured
from app.llm.usage import TokenUsage

USAGE = TokenUsage(prompt=10, completion=5, total=15)


@dataclass
class CodingChat:
    """Text is a completion, a mapping a structured answer; an error is raised. The last is given again and again."""

    answers: Sequence[str | dict[str, Any] | Exception]
    asked: list[tuple[Message, ...]] = field(default_factory=list)

    @property
    def prompts(self) -> str:
        return "\n".join(message.content for messages in self.asked for message in messages)

    def model_name(self, role: Asked) -> str:
        return f"{role}-model"

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        return Completion(str(self.answer(messages)), self.model_name(role), USAGE)

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        answer = json.dumps(self.answer(messages))
        return Structured(schema.model_validate_json(answer), self.model_name(role), USAGE)

    def answer(self, messages: Sequence[Message]) -> str | dict[str, Any]:
        self.asked.append(tuple(messages))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer
