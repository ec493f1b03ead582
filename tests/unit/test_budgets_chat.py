"""A budget is a hard limit: no model is called once it is used up."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from app.database.documents import Database
from app.errors import CircuitOpen, ExecutionError
from app.governance.budgets.accounts import Budgets
from app.governance.budgets.chat import BudgetedChat
from app.governance.budgets.models import BudgetBusy, BudgetExceeded, ModelUnpriced, Scope, Unit
from app.governance.budgets.repository import COLLECTION
from app.governance.budgets.spending import BudgetEnforcer, Spending
from app.jobs.models import Reason
from app.llm.errors import AgentOutputInvalid, LlmError, LlmTimeout
from app.llm.messages import Asked, Completion, Message, OnToken, Structured
from app.llm.usage import NO_USAGE, ModelRole, TokenUsage
from app.setting_budgets import BudgetLimits, PeriodBudget
from tests.budget_builders import MAX_TOKENS, a_repository, an_enforcer, spending_of
from tests.job_builders import NOON, SECOND, TENANT, FakeClock

ASK = (Message("user", "hello"),)
ESTIMATE = len("hello") + 16 + MAX_TOKENS
USED = TokenUsage(8, 2, 10)


class Verdict(BaseModel):
    good: bool


@dataclass
class Model:
    """Answers anything for ten tokens a call, fails, or keeps silent until it is let go."""

    name: str = "gpt-4o-mini"
    usage: TokenUsage = USED
    error: Exception | None = None
    calls: int = 0
    most_at_once: int = 0
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _now: int = 0

    def __post_init__(self) -> None:
        self.let_go.set()

    def model_name(self, role: Asked) -> str:
        return self.name

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        await self._answer()
        if on_token is not None:
            on_token("hi")
        return Completion("hi", self.name, self.usage)

    async def structured(self, role: Asked, messages: Sequence[Message], schema: Any) -> Structured[Any]:
        await self._answer()
        return Structured(schema(good=True), self.name, self.usage)

    async def _answer(self) -> None:
        self.calls += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self.was_asked.set()
        try:
            await self.let_go.wait()
        finally:
            self._now -= 1
        if self.error is not None:
            raise self.error


def tenant_budget(**day: Any) -> Budgets:
    return Budgets({TENANT: PeriodBudget(day=BudgetLimits(**day))})


async def ask(spending: Spending, model: Model) -> Completion:
    return await BudgetedChat(model, spending).complete(ModelRole.CODE, ASK)


@pytest.fixture
def enforcer(database: Database, clock: FakeClock) -> BudgetEnforcer:
    return an_enforcer(database, clock=clock)


@pytest.mark.parametrize(("budget", "allowed"), [({"tokens": 20}, 2), ({"model_calls": 3}, 3), ({"usd": 1e-9}, 1)])
async def test_calls_are_made_until_the_requests_budget_is_used_up(
    enforcer: BudgetEnforcer, budget: dict[str, float], allowed: int
) -> None:
    model, spending = Model(), spending_of(enforcer, budget=budget)

    for _ in range(allowed):
        await ask(spending, model)
    with pytest.raises(BudgetExceeded, match=rf"{next(iter(budget))}\) is used up: .* submit it with more"):
        await ask(spending, model)

    assert model.calls == allowed


async def test_streamed_and_structured_calls_are_reserved_as_well(database: Database, clock: FakeClock) -> None:
    model = Model()
    chat = BudgetedChat(model, spending_of(an_enforcer(database, tenant_budget(model_calls=2), clock=clock)))
    pieces: list[str] = []

    await chat.complete(ModelRole.CODE, ASK, on_token=pieces.append)
    await chat.structured(ModelRole.CODE, ASK, Verdict)
    for refused in (chat.complete(ModelRole.CODE, ASK), chat.structured(ModelRole.CODE, ASK, Verdict)):
        with pytest.raises(BudgetExceeded):
            await refused

    assert (pieces, model.calls) == (["hi"], 2)


@pytest.mark.parametrize(
    ("error", "tokens"),
    [
        (LlmError("overloaded", usage=USED), 10),
        (LlmError("rejected"), 0),
        (AgentOutputInvalid("garbage"), ESTIMATE),
        (LlmTimeout("slow"), ESTIMATE),
        (CircuitOpen("down"), None),
    ],
    ids=repr,
)
async def test_a_failed_call_counts_with_what_was_or_may_have_been_billed(
    database: Database, clock: FakeClock, error: ExecutionError, tokens: int | None
) -> None:
    enforcer = an_enforcer(database, tenant_budget(tokens=10_000, model_calls=10), clock=clock)

    with pytest.raises(type(error)):
        await ask(spending_of(enforcer), Model(error=error))

    consumed = (await enforcer.ledger.find(TENANT, f"{TENANT}:2026-11"))["tenant.day21"]
    assert consumed.committed.get(Unit.TOKENS, 0) == (tokens or 0)
    assert consumed.committed.get(Unit.MODEL_CALLS, 0) == (0 if tokens is None else 1)
    assert consumed.reserved == {}


async def test_a_cancelled_call_counts_with_its_estimate_now_and_in_later_attempts(
    database: Database, clock: FakeClock
) -> None:
    enforcer = an_enforcer(database, tenant_budget(tokens=10_000), clock=clock)
    model, spending = Model(), spending_of(enforcer, budget={"tokens": ESTIMATE})
    model.let_go.clear()
    call = asyncio.create_task(ask(spending, model))
    await model.was_asked.wait()

    call.cancel()
    await asyncio.wait({call})

    consumed = (await enforcer.ledger.find(TENANT, f"{TENANT}:2026-11"))["tenant.day21"]
    assert (consumed.committed[Unit.TOKENS], consumed.reserved) == (ESTIMATE, {})
    later = spending_of(enforcer, budget={"tokens": ESTIMATE}, **spending.as_fields())
    with pytest.raises(BudgetExceeded):
        await ask(later, model)


async def test_an_answer_without_usage_counts_with_its_estimate(enforcer: BudgetEnforcer) -> None:
    model, spending = Model(usage=NO_USAGE), spending_of(enforcer, budget={"tokens": ESTIMATE})

    await ask(spending, model)
    with pytest.raises(BudgetExceeded):
        await ask(spending, model)


async def test_what_earlier_attempts_spent_counts(enforcer: BudgetEnforcer) -> None:
    spending = spending_of(enforcer, budget={"tokens": 20, "usd": None}, cost={"total_tokens": 20})

    with pytest.raises(BudgetExceeded):
        await ask(spending, Model())


async def test_concurrent_calls_of_a_request_wait_for_each_other_where_it_gets_tight(enforcer: BudgetEnforcer) -> None:
    model, spending = Model(), spending_of(enforcer, budget={"tokens": 40})

    answers = await asyncio.gather(*(ask(spending, model) for _ in range(8)), return_exceptions=True)

    assert [isinstance(one, Completion) for one in answers].count(True) == 4
    assert (model.calls, model.most_at_once) == (4, 1)


async def test_a_budget_in_dollars_refuses_models_without_a_price(database: Database, clock: FakeClock) -> None:
    model = Model(name="of-nobody-known")
    shared = an_enforcer(database, tenant_budget(usd=1), clock=clock)
    other = an_enforcer(database, tenant_budget(tokens=100), clock=clock)

    for spending in (spending_of(shared), spending_of(other, budget={"usd": 1})):
        with pytest.raises(ModelUnpriced, match=r"of-nobody-known.*LLM_PRICES"):
            await ask(spending, model)
    await ask(spending_of(other), model)

    assert model.calls == 1


async def test_while_calls_in_progress_may_need_the_rest_another_is_put_off_and_not_failed(
    database: Database, clock: FakeClock
) -> None:
    slow, quick = Model(), Model()
    slow.let_go.clear()
    configured = tenant_budget(tokens=ESTIMATE)
    first, second = (spending_of(an_enforcer(database, configured, clock=clock)) for _ in range(2))
    call = asyncio.create_task(ask(first, slow))
    await slow.was_asked.wait()

    with pytest.raises(BudgetBusy, match=f"tenant {TENANT}"):
        await ask(second, quick)
    slow.let_go.set()
    await call
    await ask(second, quick)

    assert quick.calls == 1


async def test_a_raised_budget_holds_at_once_and_a_lowered_one_within_seconds(
    database: Database, clock: FakeClock
) -> None:
    stored, model = a_repository(database), Model()
    spending = spending_of(an_enforcer(database, clock=clock))

    async def put(tokens: int) -> None:
        limits = {"day": {"tokens": tokens}}
        await stored.put(TENANT, Scope.TENANT, TENANT, limits, by="key", at=NOON)

    await put(10)
    await ask(spending, model)
    with pytest.raises(BudgetExceeded, match="PUT /v1/budgets/tenant/acme, or wait until 2026-11-22T00:00:00"):
        await ask(spending, model)
    await put(1000)
    await ask(spending, model)
    await put(0)
    clock.advance(5 * SECOND)
    with pytest.raises(BudgetExceeded):
        await ask(spending, model)


async def test_of_what_is_configured_and_what_is_stored_the_lower_limit_holds(
    database: Database, clock: FakeClock
) -> None:
    await a_repository(database).put(TENANT, Scope.TENANT, TENANT, {"day": {"tokens": 999}}, by="key", at=NOON)
    spending = spending_of(an_enforcer(database, tenant_budget(tokens=10), clock=clock))

    await ask(spending, Model())
    with pytest.raises(BudgetExceeded, match="raise TENANT_BUDGETS"):
        await ask(spending, Model())


class CountedDatabase:
    """Counts the operations on each collection."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.operations: Counter[str] = Counter()

    def __getitem__(self, name: str) -> Any:
        operations, collection = self.operations, self._database[name]

        class Counted:
            def __getattr__(self, method: str) -> Any:
                operations[name] += 1
                return getattr(collection, method)

        return Counted()


async def test_without_budgets_a_call_costs_no_store_operation_and_with_them_two(
    database: Database, clock: FakeClock
) -> None:
    plain, limited = CountedDatabase(database), CountedDatabase(database)
    both = Budgets(
        {TENANT: PeriodBudget(month=BudgetLimits(usd=1))}, {"*": PeriodBudget(day=BudgetLimits(model_calls=1000))}
    )

    for counted, configured in ((plain, Budgets()), (limited, both)):
        spending = spending_of(an_enforcer(counted, configured, clock=clock))  # type: ignore[arg-type]
        for _ in range(100):
            await ask(spending, Model())

    # What the tenant has stored is read once in a few seconds.
    assert plain.operations == {COLLECTION: 1}
    assert limited.operations == {COLLECTION: 1, "budget_accounts": 200}


def claimed(*, for_: timedelta) -> list[dict[str, Any]]:
    return [
        {"status": "queued", "at": NOON - 60 * SECOND, "reason": Reason.ACCEPTED.value},
        {"status": "processing", "at": NOON - 50 * SECOND, "reason": Reason.CLAIMED.value},
        {"status": "queued", "at": NOON - 50 * SECOND + for_, "reason": Reason.RETRY_SCHEDULED.value},
        {"status": "processing", "at": NOON, "reason": Reason.CLAIMED.value},
    ]


async def hang() -> None:
    await asyncio.Event().wait()


async def test_time_counts_over_all_attempts_and_ends_the_work_in_its_middle(enforcer: BudgetEnforcer) -> None:
    history = claimed(for_=timedelta(seconds=9.9))

    with pytest.raises(BudgetExceeded, match=r"10 wall_seconds\) is used up"):
        async with asyncio.timeout(5):
            await spending_of(enforcer, budget={"wall_seconds": 10}, history=history).timed(hang)


async def test_work_that_ends_in_time_keeps_its_result_and_its_own_timeouts(enforcer: BudgetEnforcer) -> None:
    async def answer() -> str:
        return "done"

    async def time_out() -> None:
        async with asyncio.timeout(0):
            await hang()

    assert await spending_of(enforcer, budget={"wall_seconds": 10}).timed(answer) == "done"
    with pytest.raises(TimeoutError):
        await spending_of(enforcer, budget={"wall_seconds": 10}).timed(time_out)


async def test_time_of_a_tenant_is_shared_by_its_workers(database: Database, clock: FakeClock) -> None:
    budgets, time_slice = tenant_budget(wall_seconds=0.1), timedelta(seconds=0.02)
    enforcer = an_enforcer(database, budgets, clock=clock, time_slice=time_slice)

    with pytest.raises(BudgetExceeded, match=r"tenant acme for a day \(0.1 wall_seconds\)"):
        async with asyncio.timeout(5):
            await spending_of(enforcer).timed(hang)
    with pytest.raises(BudgetExceeded):
        await spending_of(enforcer).timed(hang)

    consumed = (await enforcer.ledger.find(TENANT, f"{TENANT}:2026-11"))["tenant.day21"]
    assert consumed.reserved == {}


async def test_an_agent_without_time_left_does_not_begin(database: Database, clock: FakeClock) -> None:
    budgets = Budgets(agents={"CodeAgent": PeriodBudget(day=BudgetLimits(wall_seconds=0))})
    spending = spending_of(an_enforcer(database, budgets, clock=clock), agent="PeerAgent")

    async def work() -> None:
        await spending.enter("CodeAgent")
        await hang()

    with pytest.raises(BudgetExceeded, match="agent CodeAgent"):
        async with asyncio.timeout(5):
            await spending.timed(work)
