"""Which model of a chain is asked after which failure, and what the run tells of it."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from pydantic import BaseModel

from app.agents.metering import Meter
from app.errors import CircuitOpen, ExecutionError, NotAsked
from app.llm.errors import (
    AgentOutputInvalid,
    LlmAuth,
    LlmContextTooLong,
    LlmError,
    LlmQuotaExhausted,
    LlmRateLimited,
    LlmRejected,
    LlmTimeout,
    LlmUnavailable,
    ModelRefused,
    ProviderBusy,
)
from app.llm.fallback import FallbackChat
from app.llm.messages import Asked, Completion, M, Message, OnToken, Structured
from app.llm.search import NoSearch
from app.llm.usage import ModelRole, TokenUsage
from app.model_names import ModelRef, parse_model

FIRST, SECOND, THIRD = (parse_model(name) for name in ("gpt-4o", "anthropic:claude-sonnet-5", "local:llama"))
CHAINS = {**dict.fromkeys(ModelRole, (FIRST,)), ModelRole.CONTENT: (FIRST, SECOND, THIRD)}
USAGE = TokenUsage(10, 5, 15)
QUESTION = (Message("user", "hello"),)
SOON, MINUTE = timedelta(seconds=3), timedelta(minutes=1)
PASSING: list[ExecutionError] = [
    CircuitOpen("down"),
    ProviderBusy("used up"),
    LlmAuth("wrong key"),
    LlmUnavailable("503"),
    LlmTimeout("slow"),
    LlmRateLimited("429"),
    LlmQuotaExhausted("no money"),
    LlmError("409"),
]


class BudgetIsShort(NotAsked):
    """Stands for what a budget says: no other model has more money."""

    reason = "budget_busy"


ENDING: list[ExecutionError] = [
    AgentOutputInvalid("cut off", usage=USAGE),
    ModelRefused("no", usage=USAGE),
    LlmRejected("bad request"),
    LlmContextTooLong("too long"),
    BudgetIsShort("used up"),
    ExecutionError("something else"),
]


class Greeting(BaseModel):
    text: str


class Models:
    """Fails for the models that have an error and answers for the others."""

    def __init__(self, errors: dict[ModelRef, ExecutionError]) -> None:
        self.errors = errors
        self.asked: list[Asked] = []

    def model_name(self, role: Asked) -> str:
        return str(role)

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        if on_token is not None:
            on_token("")
            on_token(f"{role} ")
        return Completion(self._answer(role), str(role), USAGE)

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        return Structured(schema.model_validate({"text": self._answer(role)}), str(role), USAGE)

    def _answer(self, asked: Asked) -> str:
        assert isinstance(asked, ModelRef), "the facades below are asked for one model each"
        self.asked.append(asked)
        if error := self.errors.get(asked):
            raise error
        return f"{asked} answers"


def named(error: ExecutionError) -> str:
    return type(error).__name__


@pytest.mark.parametrize("structured", [False, True], ids=["text", "structured"])
@pytest.mark.parametrize("error", PASSING, ids=named)
async def test_what_another_model_may_do_better_is_asked_of_the_next(error: ExecutionError, structured: bool) -> None:
    models = Models({FIRST: error})
    chat = FallbackChat(models, CHAINS)

    if structured:
        said = (await chat.structured(ModelRole.CONTENT, QUESTION, Greeting)).value.text
    else:
        said = (await chat.complete(ModelRole.CONTENT, QUESTION)).text

    assert said == f"{SECOND} answers"
    assert models.asked == [FIRST, SECOND]


@pytest.mark.parametrize("structured", [False, True], ids=["text", "structured"])
@pytest.mark.parametrize("error", ENDING, ids=named)
async def test_what_no_other_model_can_help_ends_the_call(error: ExecutionError, structured: bool) -> None:
    models = Models({FIRST: error})
    chat = FallbackChat(models, CHAINS)

    with pytest.raises(type(error)) as caught:
        await (
            chat.structured(ModelRole.CONTENT, QUESTION, Greeting)
            if structured
            else chat.complete(ModelRole.CONTENT, QUESTION)
        )

    assert caught.value is error
    assert models.asked == [FIRST]


async def test_every_call_is_counted_with_its_model_and_the_run_says_who_answered_and_who_failed() -> None:
    meter = Meter(chains=CHAINS)
    models = Models({FIRST: CircuitOpen("down"), SECOND: LlmUnavailable("503", usage=TokenUsage(3, 0, 3))})

    answer = await meter.tools(models, NoSearch()).chat.complete(ModelRole.CONTENT, QUESTION)

    assert answer.model == meter.model == str(THIRD)
    uses = {name: (use.calls, use.failures, use.last_error) for name, use in meter.uses.items()}
    assert uses == {
        str(FIRST): (0, 0, "CIRCUIT_OPEN"),
        str(SECOND): (1, 1, "LLM_ERROR"),
        str(THIRD): (1, 0, None),
    }
    assert meter.calls == 2
    assert meter.usage == USAGE + TokenUsage(3, 0, 3)


async def test_an_answer_in_pieces_begins_again_with_the_next_model() -> None:
    pieces: list[str] = []

    await FallbackChat(Models({FIRST: LlmUnavailable("broke off")}), CHAINS).complete(
        ModelRole.CONTENT, QUESTION, on_token=pieces.append
    )

    assert pieces == ["", f"{FIRST} ", "", f"{SECOND} "]


async def test_one_model_that_is_asked_for_by_its_name_has_no_substitute() -> None:
    models = Models({SECOND: LlmUnavailable("503")})

    with pytest.raises(LlmUnavailable):
        await FallbackChat(models, CHAINS).complete(SECOND, QUESTION)

    assert models.asked == [SECOND]


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ((LlmAuth("key"), LlmTimeout("slow"), LlmQuotaExhausted("money")), LlmTimeout),
        ((LlmAuth("key"), CircuitOpen("down"), LlmQuotaExhausted("money")), CircuitOpen),
        ((CircuitOpen("down"), LlmUnavailable("503"), ProviderBusy("busy")), LlmUnavailable),
        (
            (CircuitOpen("down", retry_after=MINUTE), ProviderBusy("b", retry_after=SOON), LlmAuth("k")),
            ProviderBusy,
        ),
        ((LlmAuth("key"), LlmAuth("key"), LlmQuotaExhausted("money")), LlmAuth),
    ],
    ids=["one passes", "one was not tried", "one was tried", "who can be first", "none passes"],
)
async def test_a_chain_that_failed_is_told_by_the_failure_that_is_soonest_worth_another_try(
    errors: tuple[ExecutionError, ...], told: Callable[[str], ExecutionError]
) -> None:
    models = Models(dict(zip((FIRST, SECOND, THIRD), errors, strict=True)))

    with pytest.raises(ExecutionError) as caught:
        await FallbackChat(models, CHAINS).complete(ModelRole.CONTENT, QUESTION)

    assert type(caught.value) is told
    assert models.asked == [FIRST, SECOND, THIRD]
