"""From what a provider does to what becomes of the job: the table of docs/explanation/retries.md."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx2
import pytest
from pydantic import SecretStr

from app.agents.routing import RoutingDecision, UnknownTaskType
from app.errors import AttemptTimeout, CircuitOpen, DeadlineExceeded, ExecutionError, NotAsked, OrchestratorError
from app.governance.budgets.models import BudgetBusy
from app.jobs.history import new_entry, read_history
from app.jobs.models import Reason, Status
from app.jobs.outcomes import Failed, RetryAt
from app.jobs.retry import SHORT_PAUSE, Backoff, RetryPolicy, decide_after_error
from app.llm.chat import ChatModels
from app.llm.errors import (
    OUTAGES,
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
    SearchError,
    SearchRejected,
    SearchUnavailable,
)
from app.llm.messages import Message
from app.llm.providers import Provider
from app.llm.simulator.application import Simulator, build_application
from app.llm.usage import ModelRole
from app.model_names import ModelRef
from tests.job_builders import NOON, SECOND, a_job

BACKOFF = Backoff(initial=4 * SECOND, maximum=60 * SECOND)
POLICY = RetryPolicy(3, BACKOFF)
BACKS_OFF, AFTER_WAIT, SOON, FINAL, UNCHARGED = "backs off", "after the wait", "soon", "final", "uncharged"
NO_ANSWER = "no answer"


def decision_on(error: OrchestratorError) -> str:
    """The name of what the kernel does after the second attempt ended with this error."""
    job = a_job(attempt=2)
    earliest, latest = (
        decide_after_error(job, error, policy=POLICY, now=NOON, jitter=jitter) for jitter in (0.0, 0.999_999)
    )
    if isinstance(earliest, Failed):
        return FINAL
    assert isinstance(earliest, RetryAt)
    assert isinstance(latest, RetryAt)
    if not earliest.charged:
        return UNCHARGED
    if earliest.at > NOON:
        assert earliest.at == NOON + (error.retry_after or timedelta())
        return AFTER_WAIT
    return SOON if latest.at <= NOON + SHORT_PAUSE else BACKS_OFF


@asynccontextmanager
async def a_provider(behaviour: str) -> AsyncIterator[ChatModels]:
    transport: httpx2.AsyncBaseTransport = httpx2.ASGITransport(build_application(Simulator()))
    if behaviour == NO_ANSWER:
        transport = httpx2.MockTransport(_refuse)
    chat = ChatModels(
        {"openai": Provider("openai", "http://simulator/v1", SecretStr("sk-key"), "OPENAI_API_KEY", "OPENAI_BASE_URL")},
        dict.fromkeys(ModelRole, (ModelRef("openai", "gpt-4o-mini"),)),
        timeout=timedelta(seconds=0.3) if behaviour == "hang" else timedelta(seconds=5),
        max_tokens=2048,
        http_client=httpx2.AsyncClient(transport=transport),
    )
    try:
        yield chat
    finally:
        await chat.aclose()


def _refuse(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    ("behaviour", "error", "decision"),
    [
        ("error=429 retry_after=7", LlmRateLimited, AFTER_WAIT),
        ("error=429", LlmRateLimited, BACKS_OFF),
        ("error=503 retry_after=7", LlmUnavailable, AFTER_WAIT),
        ("error=500", LlmUnavailable, BACKS_OFF),
        ("error=529", LlmUnavailable, BACKS_OFF),
        (NO_ANSWER, LlmUnavailable, BACKS_OFF),
        ("malformed", LlmUnavailable, BACKS_OFF),
        ("nochoices", LlmUnavailable, BACKS_OFF),
        ("hang", LlmTimeout, BACKS_OFF),
        ("error=408", LlmError, BACKS_OFF),
        ("error=409", LlmError, BACKS_OFF),
        ("empty", AgentOutputInvalid, SOON),
        ("length", AgentOutputInvalid, SOON),
        ("schema", AgentOutputInvalid, SOON),
        ("refuse", ModelRefused, FINAL),
        ("error=401", LlmAuth, FINAL),
        ("error=403", LlmAuth, FINAL),
        ("error=quota", LlmQuotaExhausted, FINAL),
        ("error=400", LlmRejected, FINAL),
        ("error=404", LlmRejected, FINAL),
        ("error=422", LlmRejected, FINAL),
        ("error=context", LlmContextTooLong, FINAL),
    ],
)
async def test_each_behaviour_of_a_model_provider_has_its_decision(
    behaviour: str, error: type[ExecutionError], decision: str
) -> None:
    async with a_provider(behaviour) as chat:
        with pytest.raises(ExecutionError) as caught:
            await chat.structured(ModelRole.PEER, [Message("user", f"x [[sim {behaviour}]]")], RoutingDecision)

    assert type(caught.value) is error
    assert decision_on(caught.value) == decision


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (AttemptTimeout("slow"), BACKS_OFF),
        (SearchUnavailable("down"), BACKS_OFF),
        (SearchError("busy", retry_after=7 * SECOND), AFTER_WAIT),
        (CircuitOpen("down", retry_after=7 * SECOND), UNCHARGED),
        (ProviderBusy("busy", retry_after=7 * SECOND), UNCHARGED),
        (DeadlineExceeded("late"), FINAL),
        (SearchRejected("wrong key"), FINAL),
        (UnknownTaskType("nobody"), FINAL),
        (ExecutionError("a defect"), FINAL),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_other_error_has_its_decision(error: OrchestratorError, decision: str) -> None:
    assert decision_on(error) == decision


@pytest.mark.parametrize("refusal", [CircuitOpen, ProviderBusy, BudgetBusy], ids=lambda error: error.__name__)
def test_an_attempt_in_which_nobody_was_asked_is_not_counted_by_the_history(refusal: type[NotAsked]) -> None:
    reasons = (Reason.ACCEPTED, Reason.CLAIMED, Reason(refusal.reason), Reason.CLAIMED)

    history = read_history([new_entry(Status.QUEUED, NOON, reason) for reason in reasons])

    assert [entry.attempt for entry in history] == [0, 1, 1, 1]


def test_only_a_provider_that_does_not_work_counts_for_its_circuit() -> None:
    counted = {LlmUnavailable, LlmTimeout, SearchUnavailable}
    others = {
        LlmError, LlmRateLimited, LlmQuotaExhausted, LlmRejected, LlmContextTooLong, LlmAuth,
        ProviderBusy, AgentOutputInvalid, ModelRefused, SearchError, SearchRejected, CircuitOpen,
    }  # fmt: skip

    assert {error for error in counted | others if issubclass(error, OUTAGES)} == counted
