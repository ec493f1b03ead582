"""The models behind the budgets: each call is reserved before it is made and settled when it has ended."""

from collections.abc import Mapping
from typing import Any, Protocol

from app.errors import NotAsked
from app.governance.budgets.models import NOTHING, Amounts
from app.governance.budgets.pricing import Price, call, most_prompt_tokens
from app.governance.budgets.spending import Hold
from app.llm.errors import AgentOutputInvalid, LlmTimeout, ModelCallError
from app.llm.facade import ChatFacade, Question
from app.llm.messages import A, Chat
from app.llm.usage import TokenUsage


class Spender(Protocol):
    """What an attempt may consume; `Spending` has a worker's, and a run without a store its own."""

    @property
    def price(self) -> Price: ...

    @property
    def max_tokens(self) -> int: ...

    def carry(self, document: Mapping[str, Any]) -> None: ...

    async def check_no_usd(self, model: str) -> None: ...

    async def reserve(self, amounts: Amounts) -> Hold: ...

    async def settle(self, hold: Hold, actual: Amounts | None) -> None: ...


class BudgetedChat(ChatFacade):
    """Raises `BudgetExceeded` instead of asking once a budget is used up, and `BudgetBusy` while that is not known.

    A call counts with what the provider says it used. One whose end nobody saw, since it was cancelled or timed out, or
    whose usage the provider does not tell, counts with the estimate: it may have been billed in full.
    """

    def __init__(self, chat: Chat, spending: Spender) -> None:
        super().__init__(chat)
        self._spending = spending

    def carry(self, document: Mapping[str, Any]) -> None:
        """Count what an attempt spent that was killed before it could report it, as `Meter.as_document` has it."""
        self._spending.carry(document)

    async def _ask(self, question: Question[A]) -> A:
        model = self.model_name(question.role)
        most = self._most(question)
        price = self._spending.price
        if price(model, most) is None:
            await self._spending.check_no_usd(model)
        hold = await self._spending.reserve(call(model, most, price))
        actual: Amounts | None = None
        try:
            answer = await question.put_to(self._chat)
            actual = call(model, answer.usage, price) if answer.usage.total else None
            return answer
        except NotAsked:
            actual = NOTHING
            raise
        except ModelCallError as error:
            if error.usage.total or not isinstance(error, LlmTimeout | AgentOutputInvalid):
                actual = call(model, error.usage, price)
            raise
        finally:
            await self._spending.settle(hold, actual)

    def _most(self, question: Question[A]) -> TokenUsage:
        prompt = most_prompt_tokens(question.messages, question.schema)
        completion = question.max_tokens or self._spending.max_tokens
        return TokenUsage(prompt, completion, prompt + completion)
