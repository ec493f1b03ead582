"""Hard limits on what a task may consume: checked before every model call, over all attempts."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from app.errors import CircuitOpen, ExecutionError
from app.llm.errors import ModelCallError
from app.llm.messages import A, Chat, Completion, M, Message, OnToken, Structured
from app.llm.prices import usd_estimate
from app.llm.usage import ModelRole, TokenUsage


class BudgetExceeded(ExecutionError):
    code = "BUDGET_EXCEEDED"
    title = "Budget exceeded"


class BudgetedChat:
    """Refuses a call once the budget is used up; one call may go beyond it, since its cost is known only afterwards."""

    def __init__(self, chat: Chat, budget: Mapping[str, Any], spent: Mapping[str, Any]) -> None:
        """``spent`` is the task's cost so far, from earlier attempts."""
        self._chat = chat
        self._limits = {name: limit for name, limit in budget.items() if limit is not None}
        self._spent: dict[str, float] = {
            "usd": spent.get("usd_estimate", 0.0),
            "tokens": spent.get("total_tokens", 0),
            "model_calls": spent.get("model_calls", 0),
        }

    def carry(self, document: Mapping[str, Any]) -> None:
        """Count what an attempt spent that was killed before it could report it, as `Meter.as_document` has it."""
        self._spent["model_calls"] += document["calls"]
        for entry in document["models"]:
            self._add(entry["model"], TokenUsage(entry["prompt"], entry["completion"], entry["total"]))

    def model_name(self, role: ModelRole) -> str:
        return self._chat.model_name(role)

    async def complete(
        self,
        role: ModelRole,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        self._check()
        return await self._counted(role, self._chat.complete(role, messages, max_tokens=max_tokens, on_token=on_token))

    async def structured(self, role: ModelRole, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        self._check()
        return await self._counted(role, self._chat.structured(role, messages, schema))

    def _check(self) -> None:
        for name, limit in self._limits.items():
            if self._spent[name] >= limit:
                raise BudgetExceeded(
                    f"the budget of {limit:g} {name} is used up ({self._spent[name]:g} spent); submit it with more"
                )

    async def _counted(self, role: ModelRole, call: Awaitable[A]) -> A:
        self._spent["model_calls"] += 1
        try:
            answer = await call
        except CircuitOpen:
            # Nobody was asked.
            self._spent["model_calls"] -= 1
            raise
        except ModelCallError as error:
            self._add(self._chat.model_name(role), error.usage)
            raise
        self._add(answer.model, answer.usage)
        return answer

    def _add(self, model: str, usage: TokenUsage) -> None:
        self._spent["tokens"] += usage.total
        self._spent["usd"] += usd_estimate(model, usage) or 0.0
