"""A model for the ContentAgent: it plans, writes and judges as it was told to."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.llm.messages import Asked, Completion, M, Message, OnToken, Structured
from app.llm.search import SearchResult
from app.llm.usage import TokenUsage

USAGE = TokenUsage(prompt=10, completion=5, total=15)
Prompts = list[tuple[Message, ...]]


@dataclass
class ResearchChat:
    """``drafts`` and ``verdicts`` are given in turn, the last again and again; a verdict is `(paragraph, problem)`s."""

    drafts: Sequence[str | Exception] = ("Fine [1].",)
    queries: Sequence[str] = ("wind",)
    states_facts: bool = True
    verdicts: Sequence[Sequence[tuple[int, str]] | Exception] = ((),)
    plans: Prompts = field(default_factory=list)
    written: Prompts = field(default_factory=list)
    checked: Prompts = field(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self.plans) + len(self.written) + len(self.checked)

    @property
    def prompts(self) -> str:
        return "\n".join(message.content for asked in (*self.plans, *self.written, *self.checked) for message in asked)

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
        self.written.append(tuple(messages))
        return Completion(self.draft(messages), self.model_name(role), USAGE)

    def draft(self, messages: Sequence[Message]) -> str:
        answer = _in_turn(self.drafts, len(self.written))
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        answer = self._plan(messages) if schema.__name__ == "ResearchPlan" else self._verdict(messages)
        return Structured(schema.model_validate_json(json.dumps(answer)), self.model_name(role), USAGE)

    def _plan(self, messages: Sequence[Message]) -> dict[str, Any]:
        self.plans.append(tuple(messages))
        return {"states_facts": self.states_facts, "queries": list(self.queries)}

    def _verdict(self, messages: Sequence[Message]) -> dict[str, Any]:
        self.checked.append(tuple(messages))
        found = _in_turn(self.verdicts, len(self.checked))
        if isinstance(found, Exception):
            raise found
        return {"unsupported": [{"paragraph": number, "problem": problem} for number, problem in found]}


@dataclass
class SearchByQuery:
    """Finds by query what it was given; an error is raised. ``together`` waits until so many searches run at once."""

    answers: dict[str, list[SearchResult] | Exception]
    together: int = 1
    available: bool = True
    asked: list[str] = field(default_factory=list)
    _met: asyncio.Event = field(default_factory=asyncio.Event)

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        self.asked.append(query)
        if len(self.asked) >= self.together:
            self._met.set()
        await self._met.wait()
        answer = self.answers[query]
        if isinstance(answer, Exception):
            raise answer
        return answer[:max_results]

    async def aclose(self) -> None:
        return None


def _in_turn(answers: Sequence[Any], call: int) -> Any:
    return answers[min(call, len(answers)) - 1]
