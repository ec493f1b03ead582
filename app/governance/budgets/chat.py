"""The models behind the budgets: each call is reserved before it is made and settled when it has ended."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from app.errors import NotAsked
from app.governance.budgets.models import NOTHING, Amounts
from app.governance.budgets.pricing import Price, call, most_prompt_tokens
from app.governance.budgets.spending import Hold
from app.llm.errors import AgentOutputInvalid, LlmTimeout, ModelCallError
from app.llm.messages import A, Asked, Chat, Completion, M, Message, OnToken, Structured
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


class BudgetedChat:
    """Raises `BudgetExceeded` instead of asking once a budget is used up, and `BudgetBusy` while that is not known.

    A call counts with what the provider says it used. One whose end nobody saw, since it was cancelled or timed out, or
    whose usage the provider does not tell, counts with the estimate: it may have been billed in full.
    """

    def __init__(self, chat: Chat, spending: Spender) -> None:
        self._chat = chat
        self._spending = spending

    def model_name(self, role: Asked) -> str:
        return self._chat.model_name(role)

    def carry(self, document: Mapping[str, Any]) -> None:
        """Count what an attempt spent that was killed before it could report it, as `Meter.as_document` has it."""
        self._spending.carry(document)

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        return await self._paid(
            self.model_name(role),
            _most(most_prompt_tokens(messages), max_tokens or self._spending.max_tokens),
            lambda: self._chat.complete(role, messages, max_tokens=max_tokens, on_token=on_token),
        )

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        return await self._paid(
            self.model_name(role),
            _most(most_prompt_tokens(messages, schema), self._spending.max_tokens),
            lambda: self._chat.structured(role, messages, schema),
        )

    async def _paid(self, model: str, most: TokenUsage, ask: Callable[[], Awaitable[A]]) -> A:
        price = self._spending.price
        if price(model, most) is None:
            await self._spending.check_no_usd(model)
        hold = await self._spending.reserve(call(model, most, price))
        actual: Amounts | None = None
        try:
            answer = await ask()
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


def _most(prompt: int, completion: int) -> TokenUsage:
    return TokenUsage(prompt, completion, prompt + completion)
