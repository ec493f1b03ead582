"""A budget is a hard limit: no model is called once it is used up."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.errors import CircuitOpen
from app.llm.errors import LlmError
from app.llm.messages import Completion, Message, OnToken, Structured
from app.llm.usage import ModelRole, TokenUsage
from app.tasks.budget import BudgetedChat, BudgetExceeded
from tests.unit.test_agents_fakes import ScriptedChat

ASK = (Message("user", "hello"),)


class MeteredModel:
    """Answers anything for ten tokens a call."""

    def __init__(self, *, fails: bool = False) -> None:
        self.calls = 0
        self._fails = fails

    def model_name(self, role: ModelRole) -> str:
        return "gpt-4o-mini"

    async def complete(
        self,
        role: ModelRole,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        self.calls += 1
        if self._fails:
            raise LlmError("overloaded", usage=TokenUsage(10, 0, 10))
        return Completion("hi", "gpt-4o-mini", TokenUsage(8, 2, 10))

    async def structured(self, role: ModelRole, messages: Sequence[Message], schema: Any) -> Structured[Any]:
        raise NotImplementedError


@pytest.mark.parametrize(("budget", "allowed"), [({"tokens": 20}, 2), ({"model_calls": 3}, 3), ({"usd": 1e-9}, 1)])
async def test_calls_are_made_until_the_budget_is_used_up(budget: dict[str, float], allowed: int) -> None:
    model = MeteredModel()
    chat = BudgetedChat(model, budget, {})

    for _ in range(allowed):
        await chat.complete(ModelRole.CODE, ASK)
    with pytest.raises(BudgetExceeded, match=next(iter(budget))):
        await chat.complete(ModelRole.CODE, ASK)

    assert model.calls == allowed


async def test_a_call_that_a_circuit_refused_costs_nothing() -> None:
    chat = BudgetedChat(ScriptedChat(CircuitOpen("down")), {"model_calls": 1}, {})

    for _ in range(3):
        with pytest.raises(CircuitOpen):
            await chat.complete(ModelRole.CODE, ASK)


async def test_what_earlier_attempts_spent_counts() -> None:
    chat = BudgetedChat(MeteredModel(), {"tokens": 20, "usd": None}, {"total_tokens": 20})

    with pytest.raises(BudgetExceeded):
        await chat.complete(ModelRole.CODE, ASK)


async def test_a_failed_call_that_was_billed_counts() -> None:
    chat = BudgetedChat(MeteredModel(fails=True), {"tokens": 10}, {})

    with pytest.raises(LlmError):
        await chat.complete(ModelRole.CODE, ASK)
    with pytest.raises(BudgetExceeded):
        await chat.complete(ModelRole.CODE, ASK)
