"""What providers allow in a minute: taken before a call, corrected after it, and stopped by the provider's own word."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from app.errors import ExecutionError
from app.llm.allowances import SharedWindows, Window
from app.llm.errors import (
    AgentOutputInvalid,
    LlmQuotaExhausted,
    LlmRateLimited,
    LlmTimeout,
    ProviderBusy,
)
from app.llm.messages import Asked, Completion, M, Message, OnToken, Structured
from app.llm.pacing import LONGEST_PAUSE, PATIENCE, PacedChat, Pacer
from app.llm.tokens import estimate_tokens, tokens_of
from app.llm.usage import ModelRole, TokenUsage
from app.model_names import ModelRef
from app.model_settings import RateAllowance

MODEL, OTHER = ModelRef("openai", "gpt-4o"), ModelRef("local", "llama")
SECOND = timedelta(seconds=1)
NOWHERE = "redis://127.0.0.1:1/0"
QUESTION = (Message("user", "hello"),)


class Time:
    """Sleeping lets it pass."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def a_pacer(time: Time, *, shared: SharedWindows | None = None, jitter: float = 0.0, **allowed: int) -> Pacer:
    allowances = {MODEL: RateAllowance(**allowed)}
    return Pacer(allowances, shared=shared, monotonic=time, sleep=time.sleep, jitter=lambda: jitter)


def used(total: int) -> TokenUsage:
    return TokenUsage(total, 0, total)


async def admitted(pacer: Pacer, tokens: int = 1, model: ModelRef = MODEL) -> int:
    """How many calls of so many tokens are let through at this moment, up to ten."""
    for count in range(10):
        try:
            await pacer.admit(model, tokens)
        except ProviderBusy:
            return count
    return 10


# --- the buckets


async def test_so_many_requests_pass_in_a_minute_and_the_next_is_refused_with_its_wait(time: Time) -> None:
    pacer = a_pacer(time, requests_per_minute=3)

    assert await admitted(pacer) == 3
    with pytest.raises(ProviderBusy, match="gpt-4o is used up") as caught:
        await pacer.admit(MODEL, 1)

    assert caught.value.code == "LLM_RATE_LIMITED"
    assert caught.value.retry_after is not None
    assert PATIENCE < caught.value.retry_after <= timedelta(seconds=120)
    # It gave the slot back at once.
    assert time.slept == []


async def test_tokens_are_counted_as_well(time: Time) -> None:
    assert await admitted(a_pacer(time, tokens_per_minute=100), tokens=30) == 3


async def test_a_call_for_which_there_are_no_tokens_takes_no_request(time: Time) -> None:
    pacer = a_pacer(time, requests_per_minute=2, tokens_per_minute=100)
    await pacer.admit(MODEL, 90)
    for _ in range(5):
        with pytest.raises(ProviderBusy):
            await pacer.admit(MODEL, 50)

    assert await admitted(pacer, tokens=10) == 1


async def test_a_call_larger_than_a_minutes_allowance_is_made_alone(time: Time) -> None:
    assert await admitted(a_pacer(time, tokens_per_minute=100), tokens=5000) == 1


async def test_models_have_buckets_of_their_own_and_those_without_a_limit_none(time: Time) -> None:
    pacer = a_pacer(time, requests_per_minute=1)

    assert [await admitted(pacer), await admitted(pacer, model=OTHER)] == [1, 10]


async def test_the_estimate_is_replaced_by_what_was_used(time: Time) -> None:
    pacer = a_pacer(time, tokens_per_minute=100)
    admission = await pacer.admit(MODEL, 90)

    await pacer.settle(admission, used(20))

    assert await admitted(pacer, tokens=40) == 2


async def test_what_was_used_beyond_the_estimate_is_counted_as_well(time: Time) -> None:
    pacer = a_pacer(time, tokens_per_minute=100)
    admission = await pacer.admit(MODEL, 10)

    await pacer.settle(admission, used(60))

    assert await admitted(pacer, tokens=20) == 2


@pytest.mark.parametrize(("usage", "after"), [(0, 0), (20, 120)], ids=["not told", "has left the window"])
async def test_what_cannot_be_given_back_stays_as_estimated(time: Time, usage: int, after: int) -> None:
    pacer = a_pacer(time, tokens_per_minute=100)
    admission = await pacer.admit(MODEL, 90)
    time.now += after

    await pacer.settle(admission, used(usage))

    assert await admitted(pacer, tokens=20) == 0


# --- what the provider says


async def test_a_pause_that_is_short_is_waited_for(time: Time) -> None:
    pacer = a_pacer(time)
    await pacer.pause(MODEL, SECOND)

    await pacer.admit(MODEL, 1)

    assert time.slept == [pytest.approx(1)]


async def test_a_pause_that_is_long_gives_the_slot_back_and_spreads_the_return(time: Time) -> None:
    pacer = a_pacer(time, jitter=0.5)
    await pacer.pause(MODEL, 20 * SECOND)

    with pytest.raises(ProviderBusy) as caught:
        await pacer.admit(MODEL, 1)

    assert caught.value.retry_after == 30 * SECOND
    assert time.slept == []
    assert await admitted(pacer, model=OTHER) == 10


async def test_a_pause_ends_is_never_shortened_and_never_lasts_for_hours(time: Time) -> None:
    pacer = a_pacer(time)
    await pacer.pause(MODEL, timedelta(days=1))
    await pacer.pause(MODEL, SECOND)
    paused = await admitted(pacer)

    time.now += LONGEST_PAUSE.total_seconds()

    assert (paused, await admitted(pacer)) == (0, 10)


# --- Redis


async def test_without_redis_the_process_counts_for_itself_and_nobody_waits(time: Time) -> None:
    shared = SharedWindows(NOWHERE)
    pacer = a_pacer(time, shared=shared, requests_per_minute=2)

    assert await admitted(pacer) == 2
    await pacer.pause(OTHER, 20 * SECOND)
    assert await admitted(pacer, model=OTHER) == 0
    await pacer.close()


# --- the window


@pytest.mark.parametrize(
    ("window", "cost", "seconds"),
    [
        (Window(0, 0.0, 0, 0.0), 1, 0),
        # Ten of the previous minute, which counts for another half: in 24 s it counts as one.
        (Window(10, 30.0, 0, 90.0), 9, 24),
        # This minute is full: it has to end in 20 s and then to fade by a tenth.
        (Window(0, 0.0, 10, 80.0), 1, 26),
        (Window(0, 0.0, 10, 80.0), 10, 80),
    ],
)
def test_the_wait_is_until_enough_has_faded(window: Window, cost: int, seconds: float) -> None:
    assert window.wait_for(cost, 10).total_seconds() == pytest.approx(seconds)


# --- the models behind the buckets


class Pet(BaseModel):
    name: str


class Provider:
    """Answers with a usage, or fails."""

    def __init__(self, outcome: TokenUsage | ExecutionError) -> None:
        self.outcome = outcome
        self.calls = 0

    def model_name(self, role: Asked) -> str:
        return str(MODEL)

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        return Completion("Hi", str(MODEL), self._answer())

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        return Structured(schema.model_validate({"name": "Rex"}), str(MODEL), self._answer())

    def _answer(self) -> TokenUsage:
        self.calls += 1
        if isinstance(self.outcome, ExecutionError):
            raise self.outcome
        return self.outcome


def paced(provider: Provider, pacer: Pacer) -> PacedChat:
    return PacedChat(provider, pacer, lambda asked: MODEL, max_tokens=1000)


async def test_a_call_takes_its_prompt_and_the_longest_answer_and_is_settled_with_its_usage(time: Time) -> None:
    allowed = tokens_of(QUESTION) + 50
    pacer = a_pacer(time, tokens_per_minute=allowed)
    provider = Provider(used(10))

    await paced(provider, pacer).complete(ModelRole.CONTENT, QUESTION, max_tokens=50)

    assert provider.calls == 1
    assert await admitted(pacer, tokens=allowed - 10) == 1


async def test_a_structured_call_takes_its_schema_as_well(time: Time) -> None:
    needed = tokens_of(QUESTION) + estimate_tokens(str(Pet.model_json_schema())) + 1000
    pacer = a_pacer(time, tokens_per_minute=needed + 10)
    provider = Provider(TokenUsage())

    await paced(provider, pacer).structured(ModelRole.PEER, QUESTION, Pet)

    assert [await admitted(pacer, tokens=11), await admitted(pacer, tokens=10)] == [0, 1]


async def test_a_call_for_which_there_is_no_room_is_not_made(time: Time) -> None:
    provider = Provider(used(10))
    chat = paced(provider, a_pacer(time, requests_per_minute=1))
    await chat.complete(ModelRole.CONTENT, QUESTION)

    with pytest.raises(ProviderBusy):
        await chat.complete(ModelRole.CONTENT, QUESTION)

    assert provider.calls == 1


@pytest.mark.parametrize(
    ("error", "then"),
    [
        (LlmRateLimited("429", retry_after=20 * SECOND), 0),
        (LlmRateLimited("429"), 10),
        # Waiting does not fill an account.
        (LlmQuotaExhausted("no money", retry_after=20 * SECOND), 10),
        (LlmTimeout("slow"), 10),
    ],
    ids=["429 with a wait", "429 without", "quota", "timeout"],
)
async def test_a_wait_that_the_provider_asks_for_holds_for_all_its_calls(
    time: Time, error: ExecutionError, then: int
) -> None:
    pacer = a_pacer(time)

    with pytest.raises(type(error)):
        await paced(Provider(error), pacer).complete(ModelRole.CONTENT, QUESTION)

    assert await admitted(pacer) == then


async def test_a_failed_call_is_settled_with_what_was_billed(time: Time) -> None:
    pacer = a_pacer(time, tokens_per_minute=2000)
    failed: Any = Provider(AgentOutputInvalid("cut off", usage=used(100)))

    with pytest.raises(AgentOutputInvalid):
        await paced(failed, pacer).complete(ModelRole.CONTENT, QUESTION)

    assert await admitted(pacer, tokens=1900) == 1
