"""What a verification reads does not grow with history: an index leads to a bounded number of documents each time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap import retention, verification
from app.database.documents import Database, Document, Documents, Filter, Sort
from app.devstack.store.collection import Collection
from app.devstack.store.documents import decode, encode
from app.devstack.store.index import IndexSpec
from app.devstack.store.planner import Plan, choose
from app.devstack.store.query import parse
from app.invariants.histories import SAMPLE_OF_EACH
from app.jobs.models import Status
from app.jobs.retention import BATCH, EXPIRED_TENANT, Retention
from app.jobs.store import JobStore
from app.jobs.workers import COLLECTION as WORKERS
from app.jobs.workers import WorkerIdentity, registration
from app.settings import load_settings
from app.tasks.repository import INDEXES
from tests.job_builders import LEASE, NOON, REDISPATCH, FakeClock, a_new_job

FINISHED = 3000
Read = tuple[Filter, Sort | None, int]


class Recorded(Documents):
    """Remembers how it was read."""

    reads: list[Read]

    async def find_many(
        self,
        where: Filter,
        *,
        limit: int,
        sort: Sort | None = None,
        skip: int = 0,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        self.reads.append((where, sort, limit))
        return await super().find_many(where, limit=limit, sort=sort, skip=skip, fields=fields)


@pytest.fixture
def history(clock: FakeClock) -> Collection:
    """Many finished tasks, as the embedded store holds them with their indexes."""
    collection = Collection("tests.tasks")
    for index in INDEXES:
        options = {"name": "_".join(name for name, _ in index.keys), "key": dict(index.keys), **index.options}
        collection.create_index(IndexSpec.from_document(options))
    document = {
        "status": "completed",
        "completed_at": NOON,
        "not_before": NOON,
        "lease": None,
        "lane": None,
        "uncounted": False,
        "dispatches": 1,
        "next_dispatch_at": None,
        "deadline_at": None,
        "cancel_requested_at": None,
    }
    for number in range(FINISHED):
        raw = encode({"_id": str(number), **document, "completed_at": NOON + timedelta(seconds=number)})
        collection.insert(raw, decode(raw))
    return collection


def plan_of(collection: Collection, read: Read) -> Plan | None:
    """How the store goes about it; None when it looks at everything."""
    where, sort, limit = read
    query = parse(decode(encode(dict(where))))
    return choose(query, list(sort or ()), limit, collection.indexes.values(), len(collection))


def looked_at(collection: Collection, read: Read) -> float:
    """How many documents the store looks at, infinitely many without an index."""
    plan = plan_of(collection, read)
    return plan.cost if plan else float("inf")


async def test_no_check_reads_more_when_there_is_more_history(
    database: Database, clock: FakeClock, history: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorded.reads = []
    monkeypatch.setattr(verification, "Documents", Recorded)
    worker = WorkerIdentity("w1", "host", 1, ("agent_tasks",), 10, "1")
    await database[WORKERS].insert_one(registration(worker, now=clock() - LEASE * 10, lease=LEASE * 20))
    await JobStore(Documents(database["tasks"]), clock=clock, redispatch=REDISPATCH).enqueue(a_new_job())

    await verification.build_verifier(load_settings(_env_file=None), database, clock=clock)._look()

    # What was not heard of is looked for among steps, which have an index for it.
    asked = [read for read in Recorded.reads if "heard" not in read[0]]
    reads = [read for read in asked if read[0].keys() & {"status", "lane", "uncounted"}]
    assert len(reads) >= 10 + len(Status)
    assert [read for read in reads if looked_at(history, read) > SAMPLE_OF_EACH] == []


async def test_retention_reads_a_batch_only(database: Database, clock: FakeClock, history: Collection) -> None:
    Recorded.reads = []
    rules = retention.rules_of(load_settings(_env_file=None, task_retention_days=1, dead_letter_retention_days=1))
    jobs: Any = Recorded(database["tasks"])
    clock.advance(timedelta(days=1, seconds=100))

    await Retention(jobs, [], rules, clock=clock).delete_old()

    assert len(Recorded.reads) == len(rules) == 2
    assert [read for read in Recorded.reads if looked_at(history, read) > BATCH or read[2] != BATCH] == []
    assert looked_at(history, ({"tenant_id": EXPIRED_TENANT}, None, BATCH)) == 0
