"""Whatever workers do and however they die: no budget is overshot by more than a call, nothing stays reserved."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from app.database.documents import Database, Documents
from app.governance.budgets.accounts import Account, Budgets, Rules, Work
from app.governance.budgets.ledger import COLLECTION, BudgetLedger, Reservation
from app.governance.budgets.models import NOTHING, Unit
from app.setting_budgets import BudgetLimits, PeriodBudget
from tests.budget_builders import PATIENCE, the_ledger
from tests.fakes.mongo import fake_mongo
from tests.job_builders import SECOND, TENANT, FakeClock

LIMIT = 50
LARGEST = 20
WORKERS = 3
RULES = Rules(Budgets({TENANT: PeriodBudget(day=BudgetLimits(tokens=LIMIT))}))


@dataclass
class Call:
    """What a worker does about one call: an estimate, what is really billed, and whether it lives to settle it."""

    estimate: int
    billed: int
    fate: str


CALLS = st.builds(
    lambda estimate, share, fate: Call(estimate, estimate * share // 100, fate),
    st.integers(1, LARGEST),
    st.integers(0, 100),
    st.sampled_from(["settled", "settled twice", "killed", "not made"]),
)
# In each round the workers make their calls at the same time; between rounds time passes and the upkeep looks.
ROUNDS = st.lists(st.tuples(st.lists(CALLS, min_size=1, max_size=6), st.booleans()), min_size=1, max_size=6)


@dataclass
class Fleet:
    database: Database = field(default_factory=lambda: fake_mongo()["tests"])
    clock: FakeClock = field(default_factory=FakeClock)
    billed: int = 0

    def __post_init__(self) -> None:
        self.workers = [the_ledger(self.database, clock=self.clock) for _ in range(WORKERS)]
        (self.account,) = RULES.accounts(Work(TENANT, "s", "CodeAgent"), self.clock())

    async def make(self, worker: BudgetLedger, call: Call) -> None:
        reservation = await worker.reserve(self.account, {Unit.TOKENS: call.estimate}, task_id="t")
        if not isinstance(reservation, Reservation):
            return
        if call.fate == "not made":
            await worker.settle(reservation, NOTHING)
            return
        self.billed += call.billed
        for _ in range({"settled": 1, "settled twice": 2, "killed": 0}[call.fate]):
            await worker.settle(reservation, {Unit.TOKENS: call.billed})

    async def committed(self) -> tuple[int, int]:
        return await counts(self.workers[0], self.account)


async def counts(worker: BudgetLedger, account: Account) -> tuple[int, int]:
    found = (await worker.find(TENANT, account.id)).get("tenant.day21")
    return (0, 0) if found is None else (found.committed.get(Unit.TOKENS, 0), found.reserved.get(Unit.TOKENS, 0))


async def play(rounds: Sequence[tuple[Sequence[Call], bool]]) -> None:
    fleet = Fleet()
    for calls, time_passes in rounds:
        await asyncio.gather(*(fleet.make(fleet.workers[n % WORKERS], call) for n, call in enumerate(calls)))
        if time_passes:
            fleet.clock.advance(PATIENCE + SECOND)
            await asyncio.gather(*(worker.close_abandoned() for worker in fleet.workers))
        committed, _ = await fleet.committed()
        assert fleet.billed <= committed < LIMIT + LARGEST

    fleet.clock.advance(PATIENCE + SECOND)
    await fleet.workers[0].close_abandoned()
    committed, reserved = await fleet.committed()
    assert fleet.billed <= committed < LIMIT + LARGEST
    assert reserved == 0
    document = await Documents(fleet.database[COLLECTION]).find_one({"_id": fleet.account.id}) or {
        "held": 0,
        "open": [],
    }
    assert (document["held"], document["open"]) == (0, [])


@settings(max_examples=60, deadline=None)
@given(ROUNDS)
def test_any_interleaving_keeps_the_limit_and_frees_what_it_reserved(
    rounds: list[tuple[list[Call], bool]],
) -> None:
    asyncio.run(play(rounds))
