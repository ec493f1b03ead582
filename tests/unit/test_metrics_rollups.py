"""Every finished job is counted once, wherever the counting was interrupted."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.database.documents import Database, Document, Documents
from app.jobs.models import JobError
from app.jobs.outcomes import Failed, Finished
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from app.metrics.rollups import COLLECTION, Rollups
from tests.job_builders import OTHER_TENANT, TENANT, FakeClock, a_new_job


class Crash(Exception):
    """Stands for the process dying between two writes."""


class FragileDocuments(Documents):
    """Dies at the n-th bulk write."""

    dies_at = 0

    async def update_many(self, where: Any, update: Any) -> int:
        self.dies_at -= 1
        if self.dies_at == 0:
            raise Crash
        return await super().update_many(where, update)


async def ignore(_batch: Sequence[Document]) -> None:
    """Nothing else is kept in step here."""


def rollups_over(jobs: Documents, database: Database) -> Rollups:
    return Rollups(jobs, Documents(database[COLLECTION]), also=ignore)


async def finish(jobs: JobStore, job_id: str, *, tenant: str = TENANT, fails: bool = False) -> None:
    await jobs.enqueue(a_new_job(job_id, tenant_id=tenant, fields={"selected_agent": "CodeAgent"}))
    job = await jobs.claim(job_id, worker="w1")
    assert job is not None
    await jobs.settle(job, Failed(JobError("LLM_ERROR", "x")) if fails else Finished(), Evidence())


async def totals(database: Database, tenant: str = TENANT) -> dict[str, Any]:
    document = await Documents(database[COLLECTION]).find_one({"_id": f"{tenant}:all"})
    return document or {}


async def test_finished_jobs_are_counted_once(jobs: JobStore, documents: Documents, database: Database) -> None:
    rollups = rollups_over(documents, database)
    for number in range(5):
        await finish(jobs, f"job-{number}")

    counted = [await rollups.count_finished(), await rollups.count_finished()]

    assert counted == [5, 0]
    assert (await totals(database))["total"] == 5
    assert (await totals(database))["agents"] == {"CodeAgent": 5}


async def test_tenants_are_counted_apart(jobs: JobStore, documents: Documents, database: Database) -> None:
    await finish(jobs, "ours")
    await finish(jobs, "theirs", tenant=OTHER_TENANT)

    await rollups_over(documents, database).count_finished()

    assert (await totals(database))["total"] == 1
    assert (await totals(database, OTHER_TENANT))["total"] == 1


@pytest.mark.parametrize("dies_at", range(1, 5))
async def test_a_crash_anywhere_in_between_counts_nothing_twice_and_leaves_nothing_out(
    jobs: JobStore, database: Database, dies_at: int
) -> None:
    fragile = FragileDocuments(database["jobs"])
    fragile.dies_at = dies_at
    for number in range(3):
        await finish(jobs, f"job-{number}", fails=number == 0)

    try:
        await rollups_over(fragile, database).count_finished()
    except Crash:
        await finish(jobs, "job-after-the-crash")
    await rollups_over(Documents(database["jobs"]), database).count_finished()

    expected = 3 if dies_at > 3 else 4
    assert (await totals(database))["total"] == expected
    assert await Documents(database["jobs"]).count({"uncounted": True}, limit=10) == 0


async def test_a_retried_job_moves_from_failed_to_completed(
    jobs: JobStore, documents: Documents, database: Database, clock: FakeClock
) -> None:
    rollups = rollups_over(documents, database)
    await finish(jobs, "job-1", fails=True)
    await rollups.count_finished()
    await jobs.retry(TENANT, "job-1", reset={})
    await rollups.count_finished()
    while_open = (await totals(database))["total"]

    job = await jobs.claim("job-1", worker="w1")
    assert job is not None
    await jobs.settle(job, Finished(), Evidence())
    await rollups.count_finished()

    assert while_open == 0
    assert (await totals(database))["statuses"] == {"failed": 0, "completed": 1}
