"""Circuits that several processes share, over the fake and over the embedded store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from app.database.documents import Database, Documents
from app.database.errors import StoreUnavailable
from app.database.indexes import ensure_indexes
from app.errors import CircuitOpen, ExecutionError
from app.jobs.workers import SYSTEM_TENANT
from app.llm import circuit_store
from app.llm.circuit_breaker import CircuitBreaker
from app.llm.circuit_store import CircuitStore
from app.llm.circuits import Circuit, CircuitKey, CircuitPolicy
from app.llm.errors import AgentOutputInvalid, LlmAuth, LlmRateLimited, LlmTimeout, LlmUnavailable
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON, SECOND, FakeClock
from tests.processes import Server

KEY = CircuitKey("api.example.com", "gpt-4o-mini")
OTHER = CircuitKey("api.example.com", "gpt-4o")
POLICY = CircuitPolicy(failures=3, initial=10 * SECOND, maximum=120 * SECOND, probe_lease=65 * SECOND)


@pytest.fixture(params=["fake", "embedded"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    if request.param == "fake":
        yield fake_mongo()["tests"]
        return
    store: Server = request.getfixturevalue("store")
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(store.mongo_uri, tz_aware=True)
    found = client[f"circuits_{uuid4().hex}"]
    await ensure_indexes(found, circuit_store.INDEXES)
    yield found
    await client.close()


class Provider:
    """Counts its calls and ends each as it is told to; with None it works."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self) -> str:
        self.calls += 1
        error = self.error
        await self.may_answer.wait()
        if error is not None:
            raise error
        return "an answer"


class CountingStore(CircuitStore):
    def __init__(self, database: Database) -> None:
        super().__init__(Documents(database["circuits"]).of_tenant(SYSTEM_TENANT))
        self.reads = 0
        self.writes = 0
        self.is_away = False

    async def list_open(self) -> list[Circuit]:
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().list_open()

    async def open(self, circuit: Circuit) -> Circuit | None:
        self.writes += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().open(circuit)

    async def change(self, before: Circuit, after: Circuit) -> Circuit | None:
        self.writes += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().change(before, after)

    async def close(self, before: Circuit) -> bool:
        self.writes += 1
        return await super().close(before)


@dataclass
class Fleet:
    """Worker processes with a breaker each, over one store, in front of one provider."""

    database: Database
    clock: FakeClock = field(default_factory=FakeClock)
    provider: Provider = field(default_factory=Provider)

    def __post_init__(self) -> None:
        self.store = CountingStore(self.database)

    def worker(self, on_change: Callable[[Any], None] = lambda _: None) -> CircuitBreaker:
        return CircuitBreaker(
            self.store,
            POLICY,
            clock=self.clock,
            on_change=on_change,
            monotonic=lambda: (self.clock() - NOON).total_seconds(),
            jitter=lambda: 0.0,
        )

    async def fail(self, worker: CircuitBreaker, times: int = 1, error: Exception | None = None) -> None:
        self.provider.error = error or LlmUnavailable("the model provider answered 500")
        for _ in range(times):
            with pytest.raises(type(self.provider.error)):
                await worker.call(KEY, self.provider.ask)
        self.provider.error = None

    async def is_refused(self, worker: CircuitBreaker) -> bool:
        """Whether a call is refused without the provider being asked."""
        calls = self.provider.calls
        try:
            await worker.call(KEY, self.provider.ask)
        except CircuitOpen:
            assert self.provider.calls == calls
            return True
        return False


@pytest.fixture
def fleet(database: Database) -> Fleet:
    return Fleet(database)


async def test_failures_in_a_row_open_the_circuit_for_every_process_within_a_second(fleet: Fleet) -> None:
    first, second = fleet.worker(), fleet.worker()
    assert not await fleet.is_refused(second)

    await fleet.fail(first, times=3)
    fleet.clock.advance(SECOND)

    assert await fleet.is_refused(first)
    assert await fleet.is_refused(second)


async def test_an_open_circuit_leaves_other_models_alone(fleet: Fleet) -> None:
    worker = fleet.worker()

    await fleet.fail(worker, times=3)

    assert await fleet.is_refused(worker)
    assert await worker.call(OTHER, fleet.provider.ask) == "an answer"


async def test_a_success_between_failures_begins_the_count_again(fleet: Fleet) -> None:
    worker = fleet.worker()

    await fleet.fail(worker, times=2)
    await worker.call(KEY, fleet.provider.ask)
    await fleet.fail(worker, times=2)

    assert not await fleet.is_refused(worker)


@pytest.mark.parametrize(
    "error", [LlmRateLimited("busy"), LlmAuth("wrong key"), AgentOutputInvalid("nonsense")], ids=lambda e: e.code
)
async def test_a_provider_that_answers_with_a_refusal_is_not_down(fleet: Fleet, error: ExecutionError) -> None:
    worker = fleet.worker()

    await fleet.fail(worker, times=5, error=error)

    assert not await fleet.is_refused(worker)


async def test_nothing_is_written_while_all_is_well_and_read_at_most_once_a_second(fleet: Fleet) -> None:
    worker = fleet.worker()

    for _ in range(100):
        await worker.call(KEY, fleet.provider.ask)
    await fleet.fail(worker, times=2)

    assert (fleet.store.reads, fleet.store.writes) == (1, 0)
    fleet.clock.advance(SECOND)
    await worker.call(KEY, fleet.provider.ask)
    assert (fleet.store.reads, fleet.store.writes) == (2, 0)


async def test_of_all_processes_one_call_probes_and_its_answer_closes_the_circuit(fleet: Fleet) -> None:
    first, second = fleet.worker(), fleet.worker()
    await fleet.fail(first, times=3)
    fleet.clock.advance(10 * SECOND)
    fleet.provider.calls = 0
    fleet.provider.may_answer.clear()

    callers = [asyncio.create_task(worker.call(KEY, fleet.provider.ask)) for worker in (first, second) * 10]
    refused, probing = await _all_but_one(callers)
    fleet.provider.may_answer.set()

    assert all(isinstance(call.exception(), CircuitOpen) for call in refused)
    assert await probing.pop() == "an answer"
    assert fleet.provider.calls == 1
    assert await fleet.store.list_open() == []
    assert not await fleet.is_refused(first)
    fleet.clock.advance(SECOND)
    assert not await fleet.is_refused(second)


async def _all_but_one(calls: "list[asyncio.Task[str]]") -> "tuple[set[asyncio.Task[str]], set[asyncio.Task[str]]]":
    """Return once a single call is left."""
    async with asyncio.timeout(10):
        pending = set(calls)
        while len(pending) > 1:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    return set(calls) - pending, pending


async def test_a_failed_probe_keeps_it_open_twice_as_long_for_everybody(fleet: Fleet) -> None:
    first, second = fleet.worker(), fleet.worker()
    await fleet.fail(first, times=3)
    fleet.clock.advance(10 * SECOND)

    await fleet.fail(second, error=LlmTimeout("slow"))
    fleet.clock.advance(19 * SECOND)

    assert await fleet.is_refused(first)
    assert await fleet.is_refused(second)
    fleet.clock.advance(SECOND)
    assert not await fleet.is_refused(first)


async def test_a_probe_whose_process_died_is_followed_by_another_after_its_lease(fleet: Fleet) -> None:
    dead, alive = fleet.worker(), fleet.worker()
    await fleet.fail(dead, times=3)
    fleet.clock.advance(10 * SECOND)
    fleet.provider.may_answer.clear()
    hanging = asyncio.create_task(dead.call(KEY, fleet.provider.ask))
    await _asked(fleet.provider, 4)

    fleet.clock.advance(64 * SECOND)
    assert await fleet.is_refused(alive)
    fleet.clock.advance(SECOND)
    fleet.provider.may_answer.set()

    # The dead one's answer comes at last: it is too late to tell anything, whoever writes first.
    await asyncio.gather(hanging, alive.call(KEY, fleet.provider.ask))
    assert await fleet.store.list_open() == []


async def test_a_probe_that_cannot_be_noted_is_refused_and_follows_when_the_store_is_back(fleet: Fleet) -> None:
    worker = fleet.worker()
    await fleet.fail(worker, times=3)
    fleet.clock.advance(10 * SECOND)
    fleet.store.is_away = True
    assert await fleet.is_refused(worker)

    fleet.store.is_away = False
    fleet.clock.advance(2 * SECOND)
    await worker.call(KEY, fleet.provider.ask)

    assert await fleet.store.list_open() == []


async def test_an_answer_that_comes_after_the_probes_lease_changes_nothing(fleet: Fleet) -> None:
    slow, quick = fleet.worker(), fleet.worker()
    await fleet.fail(slow, times=3)
    fleet.clock.advance(10 * SECOND)
    fleet.provider.may_answer.clear()
    late = asyncio.create_task(slow.call(KEY, fleet.provider.ask))
    await _asked(fleet.provider, 4)
    fleet.clock.advance(65 * SECOND)
    replacement = asyncio.create_task(_failing(quick, fleet.provider))
    await _asked(fleet.provider, 5)

    fleet.provider.may_answer.set()
    await replacement
    assert await late == "an answer"

    (circuit,) = await fleet.store.list_open()
    assert (circuit.openings, circuit.is_probing) == (2, False)


async def _failing(worker: CircuitBreaker, provider: Provider) -> None:
    provider.error = LlmUnavailable("down")
    with pytest.raises(LlmUnavailable):
        await worker.call(KEY, provider.ask)


async def _asked(provider: Provider, times: int) -> None:
    async with asyncio.timeout(10):
        while provider.calls < times:  # noqa: ASYNC110 - nothing announces a call
            await asyncio.sleep(0.001)


async def test_a_cancelled_probe_is_given_back(fleet: Fleet) -> None:
    first, second = fleet.worker(), fleet.worker()
    await fleet.fail(first, times=3)
    fleet.clock.advance(10 * SECOND)
    fleet.provider.may_answer.clear()
    probe = asyncio.create_task(first.call(KEY, fleet.provider.ask))
    await _asked(fleet.provider, 4)

    probe.cancel()
    await asyncio.wait({probe})
    await first.close()
    fleet.provider.may_answer.set()

    assert not await fleet.is_refused(second)


async def test_calls_that_began_before_the_circuit_closed_do_not_open_it_again(fleet: Fleet) -> None:
    worker, slow = fleet.worker(), Provider()
    slow.error = LlmTimeout("slow")
    slow.may_answer.clear()
    old = [asyncio.create_task(worker.call(KEY, slow.ask)) for _ in range(10)]
    await _asked(slow, 10)
    await fleet.fail(worker, times=3)
    fleet.clock.advance(10 * SECOND)
    assert not await fleet.is_refused(worker)

    slow.may_answer.set()
    await asyncio.wait(old)

    assert {type(call.exception()) for call in old} == {LlmTimeout}
    assert await fleet.store.list_open() == []


async def test_who_watches_is_told_which_circuits_are_open(fleet: Fleet) -> None:
    told: list[set[CircuitKey]] = []
    first, second = fleet.worker(), fleet.worker(on_change=lambda keys: told.append(set(keys)))

    await fleet.fail(first, times=3)
    await second.refresh()
    fleet.clock.advance(10 * SECOND)
    await first.call(KEY, fleet.provider.ask)
    await second.refresh()

    assert told == [{KEY}, set()]


async def test_a_store_that_is_away_takes_no_answer_away(fleet: Fleet) -> None:
    worker = fleet.worker()
    fleet.store.is_away = True

    answer: Awaitable[str] = worker.call(KEY, fleet.provider.ask)
    assert await answer == "an answer"
    await fleet.fail(worker, times=3)

    assert not await fleet.is_refused(worker)
    fleet.store.is_away = False
    await fleet.fail(worker, times=3)
    assert await fleet.is_refused(worker)


async def test_a_stored_circuit_names_what_it_is_about_and_expires(fleet: Fleet, database: Database) -> None:
    await fleet.fail(fleet.worker(), times=3)

    (document,) = await database["circuits"].find().to_list()

    assert document["_id"] == "api.example.com/gpt-4o-mini"
    assert document["tenant_id"] == SYSTEM_TENANT
    assert document["expires_at"] == NOON + 10 * SECOND + timedelta(days=1)
    assert await fleet.store.find(KEY) == (await fleet.store.list_open())[0]
    assert await fleet.store.find(OTHER) is None
