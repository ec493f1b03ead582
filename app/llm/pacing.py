"""Keeps all workers together within what the providers allow, so that their 429s are the exception."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.impatient_redis import RedisGuard
from app.llm.allowances import MINUTE, LocalWindows, SharedWindows
from app.llm.errors import LlmQuotaExhausted, LlmRateLimited, ModelCallError, ProviderBusy
from app.llm.facade import ChatFacade, Question
from app.llm.messages import A, Asked, Chat
from app.llm.tokens import estimate_tokens, tokens_of
from app.llm.usage import TokenUsage
from app.model_names import ModelRef
from app.model_settings import RateAllowance

log = structlog.get_logger(__name__)

# A call waits so long in its worker's slot; what would have to wait longer gives the slot back.
PATIENCE = timedelta(seconds=2)
SHORTEST_WAIT = timedelta(milliseconds=20)
# What was refused does not come back as a burst.
SPREAD = timedelta(seconds=5)
# A provider's slip must not stop all work for a day.
LONGEST_PAUSE = timedelta(minutes=5)
# How long a pause that another process learned of may be unknown here.
READ_AGE = 1.0
UNLIMITED = RateAllowance()


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that may be made; ``tokens`` is what was taken for it, 0 where nobody counts."""

    model: ModelRef
    tokens: int
    at: float


class Pacer:
    """Belongs to the event loop. Without ``shared`` every process has the whole allowance for itself."""

    def __init__(
        self,
        allowances: Mapping[ModelRef, RateAllowance],
        *,
        shared: SharedWindows | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._allowances = allowances
        self._shared = shared
        self._local = LocalWindows()
        self._redis = RedisGuard("llm_rate", monotonic=monotonic)
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._paused_until: dict[ModelRef, float] = {}
        self._read_at: dict[ModelRef, float] = {}

    async def admit(self, model: ModelRef, tokens: int) -> Admission:
        """Take a request and so many tokens, after at most `PATIENCE`; raises `ProviderBusy`."""
        allowed = self._allowances.get(model, UNLIMITED)
        # More than a minute's allowance would never be admitted.
        cost = min(tokens, allowed.tokens_per_minute or 0)
        give_up_at = self._monotonic() + PATIENCE.total_seconds()
        while wait := await self._wait(model, allowed, cost):
            wait = max(wait, SHORTEST_WAIT)
            if self._monotonic() + wait.total_seconds() > give_up_at:
                raise self._busy(model, wait)
            await self._sleep(wait.total_seconds())
        return Admission(model, cost, self._monotonic())

    async def settle(self, admission: Admission, usage: TokenUsage) -> None:
        """Replace the estimate by what was used."""
        limit = self._allowances.get(admission.model, UNLIMITED).tokens_per_minute
        has_left = self._monotonic() - admission.at >= MINUTE.total_seconds()
        difference = usage.total - admission.tokens
        # What has left the window cannot be given back, and what the provider does not tell is as estimated.
        if limit is not None and usage.total and difference and not (difference < 0 and has_left):
            await self._take(_tokens(admission.model), min(difference, limit), limit)

    async def pause(self, model: ModelRef, wish: timedelta) -> None:
        """Nobody asks the model for as long as the provider wishes."""
        length = min(wish, LONGEST_PAUSE)
        until = self._monotonic() + length.total_seconds()
        self._paused_until[model] = max(self._paused_until.get(model, 0.0), until)
        log.warning("llm.paused", model=str(model), seconds=length.total_seconds())
        if (shared := self._shared) is not None and length > timedelta():
            await self._redis.ask(lambda: shared.pause(_key(model), length))

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    async def _wait(self, model: ModelRef, allowed: RateAllowance, tokens: int) -> timedelta:
        """Zero when the call may be made, and has been counted."""
        if pause := await self._pause_left(model):
            return pause
        per_minute = allowed.requests_per_minute
        if per_minute is not None and not await self._take(_requests(model), 1, per_minute):
            return await self._until_room(_requests(model), 1, per_minute)
        limit = allowed.tokens_per_minute
        if limit is not None and not await self._take(_tokens(model), tokens, limit):
            if per_minute is not None:
                await self._take(_requests(model), -1, per_minute)
            return await self._until_room(_tokens(model), tokens, limit)
        return timedelta()

    async def _take(self, key: str, cost: int, limit: int) -> bool:
        shared = self._shared
        taken = await self._redis.ask(lambda: shared.take(key, cost, limit)) if shared else None
        return await self._local.take(key, cost, limit) if taken is None else taken

    async def _until_room(self, key: str, cost: int, limit: int) -> timedelta:
        shared = self._shared
        window = await self._redis.ask(lambda: shared.read(key, limit)) if shared else None
        window = window or await self._local.read(key, limit)
        return max(window.wait_for(cost, limit), SHORTEST_WAIT)

    async def _pause_left(self, model: ModelRef) -> timedelta:
        now, shared = self._monotonic(), self._shared
        if shared is not None and now - self._read_at.get(model, float("-inf")) >= READ_AGE:
            self._read_at[model] = now
            left = await self._redis.ask(lambda: shared.pause_left(_key(model)))
            if left:
                self._paused_until[model] = max(self._paused_until.get(model, 0.0), now + left.total_seconds())
        return timedelta(seconds=max(self._paused_until.get(model, 0.0) - now, 0.0))

    def _busy(self, model: ModelRef, wait: timedelta) -> ProviderBusy:
        return ProviderBusy(
            f"the rate limit of {model} is used up for another {wait.total_seconds():.1f} s (LLM_RATE_LIMITS, or the "
            "provider's own)",
            retry_after=wait + max(wait, SPREAD) * self._jitter(),
            model=str(model),
        )


class PacedChat(ChatFacade):
    """Asks only as often as the provider allows; raises `ProviderBusy` instead of being refused."""

    def __init__(self, chat: Chat, pacer: Pacer, model_of: Callable[[Asked], ModelRef], *, max_tokens: int) -> None:
        """``max_tokens`` is what an answer may have when a call does not say."""
        super().__init__(chat)
        self._pacer = pacer
        self._model_of = model_of
        self._max_tokens = max_tokens

    async def _ask(self, question: Question[A]) -> A:
        admission = await self._pacer.admit(self._model_of(question.role), self._most(question))
        try:
            answer = await question.put_to(self._chat)
        except LlmRateLimited as error:
            if error.retry_after is not None and not isinstance(error, LlmQuotaExhausted):
                await self._pacer.pause(admission.model, error.retry_after)
            raise
        except ModelCallError as error:
            await self._pacer.settle(admission, error.usage)
            raise
        await self._pacer.settle(admission, answer.usage)
        return answer

    def _most(self, question: Question[A]) -> int:
        schema = estimate_tokens(str(question.schema.model_json_schema())) if question.schema else 0
        return tokens_of(question.messages) + schema + (question.max_tokens or self._max_tokens)


def _key(model: ModelRef) -> str:
    return f"{model.provider}:{model.model}"


def _requests(model: ModelRef) -> str:
    return f"requests:{_key(model)}"


def _tokens(model: ModelRef) -> str:
    return f"tokens:{_key(model)}"
