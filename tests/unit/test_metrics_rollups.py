"""Every finished job is counted once, wherever the counting is interrupted and however many count at a time."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest

from app.database.documents import Database, Documents
from app.ids import new_id
from app.jobs.models import JobError, Status
from app.jobs.outcomes import Cancelled, Failed, Finished, Outcome, RetryAt
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from app.metrics.rollups import BATCH, BATCHES_PER_PASS, COLLECTION, COUNTED, LEDGER, Rollups
from app.metrics.sketch import bucket_of
from app.metrics.tally import TIMED
from tests.fakes.fate import Collection, Crash, Fate
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON, OTHER_TENANT, REDISPATCH, SECOND, TENANT, FakeClock, a_new_job

FAILED = Failed(JobError("LLM_ERROR", "x"))
OUTCOMES: tuple[Outcome, ...] = (Finished(), FAILED, Cancelled())
AGENTS = ("CodeAgent", "ContentAgent", None)
EVERYTHING = 10_000


def a_world() -> tuple[Database, JobStore]:
    database = fake_mongo()["tests"]
    return database, JobStore(Documents(database["jobs"]), clock=FakeClock(), redispatch=REDISPATCH)


def a_counter(database: Database, fate: Fate | None = None, *, batch_size: int = BATCH) -> Rollups:
    def documents(name: str) -> Documents:
        inner: Any = database[name]
        return Documents(inner if fate is None else cast("Any", Collection(inner, fate)))

    return Rollups(documents("jobs"), documents(COLLECTION), documents(COUNTED), batch_size=batch_size)


async def finish(
    jobs: JobStore,
    job_id: str,
    outcome: Outcome | None = None,
    *,
    tenant: str = TENANT,
    label: str | None = "CodeAgent",
    attempts: int = 1,
) -> None:
    await jobs.enqueue(a_new_job(job_id, tenant_id=tenant))
    for _ in range(attempts - 1):
        await attempt(jobs, job_id, RetryAt(NOON))
    await attempt(jobs, job_id, outcome or Finished(), label)


async def attempt(jobs: JobStore, job_id: str, outcome: Outcome, label: str | None = None) -> None:
    job = await jobs.claim(job_id, worker="w1")
    assert job is not None
    await jobs.settle(job, outcome, Evidence(label=label))


async def retry(jobs: JobStore, job_id: str) -> None:
    tenant = (await jobs.get(job_id)).tenant_id
    await jobs.retry(tenant, job_id, reset={"selected_agent": None}, request=new_id())


async def finish_a_mixture(jobs: JobStore) -> None:
    """Two tenants, three final states, histories of four lengths, one of them open again."""
    await finish(jobs, "job-1")
    await finish(jobs, "job-2", FAILED, label="ContentAgent", attempts=2)
    await finish(jobs, "job-3", tenant=OTHER_TENANT, attempts=3)
    await finish(jobs, "job-4", FAILED, label=None)
    await retry(jobs, "job-4")
    await finish(jobs, "job-5", Cancelled())


Counts = dict[tuple[str, str], Counter[str]]


async def truth(database: Database) -> Counts:
    """What the histories say, read independently of the code under test: a job counts as what it is now."""
    counts: Counts = {}
    for job in await database["jobs"].find({}).to_list():
        last = job["history"][-1]
        if not Status(last["status"]).is_final:
            continue
        began_at = max([job["created_at"], *(one["at"] for one in job["history"] if one["reason"] == "retried")])
        elapsed = (last["at"] - began_at) / timedelta(milliseconds=1)
        for period in ("all", last["at"].date().isoformat()):
            counter = counts.setdefault((job["tenant_id"], period), Counter())
            counter.update({"total": 1, f"statuses.{last['status']}": 1})
            if "label" in last:
                counter[f"agents.{last['label']}"] += 1
            if last["status"] in TIMED:
                counter.update({"latency.count": 1, f"latency.buckets.{bucket_of(elapsed)}": 1})
                counter["latency.sum"] += int(elapsed)
    return counts


async def counted(database: Database) -> Counts:
    counts: Counts = {}
    for rollup in await database[COLLECTION].find({"_id": {"$ne": LEDGER}}).to_list():
        numbers = {name: rollup.get(name, {}) for name in ("total", "statuses", "agents", "latency")}
        # A counter that went back to zero says the same as none.
        if nonzero := {path: number for path, number in _flat(numbers) if number}:
            counts[rollup["tenant_id"], rollup["period"]] = Counter(nonzero)
    return counts


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


async def count_everything(database: Database, *, batch_size: int = BATCH) -> None:
    """What later passes of an undisturbed process do."""
    while await a_counter(database, batch_size=batch_size).count_finished():
        pass


async def is_exact(database: Database) -> bool:
    open_batch = await database[COLLECTION].find_one({"_id": LEDGER, "batch": {"$ne": None}})
    left = await database["jobs"].count_documents({"uncounted": True})
    return open_batch is None and left == 0 and await counted(database) == await truth(database)


async def totals(database: Database) -> dict[str, Any]:
    return await database[COLLECTION].find_one({"_id": f"{TENANT}:all"}) or {}


async def test_finished_jobs_are_counted_once(jobs: JobStore, database: Database) -> None:
    rollups = a_counter(database)
    for number in range(5):
        await finish(jobs, f"job-{number}")

    results = [await rollups.count_finished(), await rollups.count_finished()]

    assert results == [5, 0]
    assert (await totals(database))["total"] == 5
    assert (await totals(database))["agents"] == {"CodeAgent": 5}


async def test_a_retried_job_moves_from_one_state_and_agent_to_another(jobs: JobStore, database: Database) -> None:
    await finish(jobs, "job-1", FAILED, label="CodeAgent")
    await count_everything(database)
    await retry(jobs, "job-1")
    await count_everything(database)
    while_open = await counted(database)

    await attempt(jobs, "job-1", Finished(), "ContentAgent")
    await count_everything(database)

    assert while_open == {}
    assert (await totals(database))["statuses"] == {"failed": 0, "completed": 1}
    assert (await totals(database))["agents"] == {"CodeAgent": 0, "ContentAgent": 1}


async def test_a_roll_up_of_a_version_without_numbered_batches_is_continued(jobs: JobStore, database: Database) -> None:
    await database[COLLECTION].insert_one({"_id": f"{TENANT}:all", "tenant_id": TENANT, "period": "all", "total": 7})
    await finish(jobs, "job-1")

    await a_counter(database).count_finished()

    assert (await totals(database))["total"] == 8


async def test_a_pass_is_bounded_and_the_next_goes_on(jobs: JobStore, database: Database) -> None:
    for number in range(2 * BATCHES_PER_PASS + 1):
        await finish(jobs, f"job-{number}")
    rollups = a_counter(database, batch_size=2)

    results = [await rollups.count_finished() for _ in range(3)]

    assert results == [2 * BATCHES_PER_PASS, 1, 0]


async def test_a_batch_costs_a_handful_of_operations(jobs: JobStore, database: Database) -> None:
    for number in range(60):
        await finish(jobs, f"job-{number}", attempts=1 + number % 2)
    fate = Fate()

    await a_counter(database, fate).count_finished()

    # The ledger and the jobs are read; the batch is sealed, added to a day and to all time, ticked off for two lengths
    # of history, left for others and closed; it was not full, so that nothing more is looked for.
    assert fate.commands == {"find_one": 1, "find": 1, "update_one": 4, "update_many": 2, "insert_many": 1}


async def test_a_batch_leaves_the_ids_of_its_jobs(jobs: JobStore, database: Database) -> None:
    await finish_a_mixture(jobs)

    await a_counter(database).count_finished()

    (batch,) = await database[COUNTED].find({}).to_list()
    assert sorted(batch["jobs"]) == [f"job-{number}" for number in range(1, 6)]


async def dies_counting(database: Database, fate: Fate, batch_size: int = BATCH) -> bool:
    try:
        await a_counter(database, fate, batch_size=batch_size).count_finished()
    except Crash:
        return True
    return False


@pytest.mark.parametrize("half", ["before", "after"])
@pytest.mark.parametrize("batch_size", [1, 2, BATCH])
async def test_a_crash_at_any_write_counts_nothing_twice_and_leaves_nothing_out(batch_size: int, half: str) -> None:
    for dies_at in range(1, EVERYTHING):
        database, jobs = a_world()
        await finish_a_mixture(jobs)
        died = await dies_counting(database, Fate(dies_at=dies_at, half=half), batch_size)
        await retry(jobs, "job-2")
        await attempt(jobs, "job-4", Finished(), "EchoAgent")
        await count_everything(database, batch_size=batch_size)

        assert await is_exact(database), dies_at
        if not died:
            break
    assert dies_at > 10


@pytest.mark.long
@pytest.mark.parametrize("half", ["before", "after"])
async def test_a_crash_at_any_write_while_recovering_from_any_crash_is_as_harmless(half: str) -> None:
    first = died_first = 1
    while died_first:
        second = died_second = 1
        while died_second:
            database, jobs = a_world()
            await finish_a_mixture(jobs)
            died_first = await dies_counting(database, Fate(dies_at=first, half=half))
            await retry(jobs, "job-2")
            died_second = await dies_counting(database, Fate(dies_at=second, half=half))
            await count_everything(database)

            assert await is_exact(database), (first, second)
            second += 1
        first += 1
    assert first > 10


@pytest.mark.long
async def test_a_counter_that_wakes_after_sixty_batches_adds_nothing() -> None:
    for stalls_at in range(1, EVERYTHING):
        database, jobs = a_world()
        await finish_a_mixture(jobs)
        stalled = Fate(stalls_at=stalls_at)
        late = asyncio.create_task(a_counter(database, stalled, batch_size=3).count_finished())
        waiting = asyncio.create_task(stalled.stalled.wait())
        await asyncio.wait({late, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if late.done():
            waiting.cancel()
            break
        await retry(jobs, "job-2")
        for number in range(60):
            await finish(jobs, f"later-{number}")
        await count_everything(database, batch_size=1)
        stalled.woken.set()
        await late

        assert await is_exact(database), stalls_at
    assert stalls_at > 15


async def live(jobs: JobStore, clock: FakeClock, dice: random.Random) -> None:
    """Jobs finish, fail, are cancelled and are retried, at any time of any day."""
    for number in range(25):
        clock.advance(SECOND * dice.randrange(20_000))
        await finish(
            jobs,
            f"job-{number}",
            dice.choice(OUTCOMES),
            tenant=dice.choice([TENANT, OTHER_TENANT]),
            label=dice.choice(AGENTS),
            attempts=dice.randrange(1, 4),
        )
        again = f"job-{dice.randrange(number + 1)}"
        if (await jobs.get(again)).status in {Status.FAILED, Status.CANCELLED}:
            await retry(jobs, again)
            if dice.random() < 0.7:
                clock.advance(SECOND * dice.randrange(100))
                await attempt(jobs, again, dice.choice(OUTCOMES), dice.choice(AGENTS))


async def count_again_and_again(database: Database, dice: random.Random, batch_size: int) -> None:
    for _ in range(12):
        fate = Fate(dice=dice, dies_at=dice.randrange(1, 40), half=dice.choice(["before", "after"]))
        await dies_counting(database, fate, batch_size)


@pytest.mark.parametrize("counters", [2, 3])
@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 25))])
async def test_counters_at_the_same_time_count_exactly_while_jobs_go_on(
    clock: FakeClock, database: Database, seed: int, counters: int
) -> None:
    dice = random.Random(seed)
    jobs = JobStore(Documents(database["jobs"]), clock=clock, redispatch=REDISPATCH)
    batch_size = dice.choice([1, 2, 3, BATCH])

    at_once = (count_again_and_again(database, dice, batch_size) for _ in range(counters))
    await asyncio.gather(live(jobs, clock, dice), *at_once)
    await count_everything(database, batch_size=batch_size)

    assert await is_exact(database)
