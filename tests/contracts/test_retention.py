"""Old tasks go with all that belongs to them; what is younger, open, uncounted or tried again stays."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from app.database.documents import Documents
from app.database.errors import StoreUnavailable
from app.errors import NotFound
from app.jobs.models import LEGAL_HOLD, JobError, Status
from app.jobs.outcomes import Cancelled, Failed, Finished, Outcome
from app.jobs.retention import MOST_BATCHES, PAUSE, ExpiredJob, Retention, Rule, by_task_id
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from app.sessions.messages import MessageLog, assistant_message, user_message
from tests.contracts.store_outcomes import Database
from tests.job_builders import OTHER_TENANT, REDISPATCH, SECOND, TENANT, FakeClock, a_new_job

DAY = timedelta(days=1)
DONE = Rule(frozenset({Status.COMPLETED, Status.CANCELLED}), 2 * DAY)
DEAD = Rule(frozenset({Status.FAILED}), 5 * DAY)
FAILED = Failed(JobError("LLM_ERROR", "x"))
MOMENT = timedelta(milliseconds=1)


class Tasks:
    """Tasks that ended, with their messages."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.documents = Documents(database["tasks"])
        self.clock = clock
        self.store = JobStore(self.documents, clock=clock, redispatch=REDISPATCH)
        self.messages = Documents(database["messages"])
        self.log = MessageLog(self.messages, lifetime=30 * DAY)

    async def end(self, task_id: str, outcome: Outcome, *, tenant: str = TENANT, counted: bool = True) -> None:
        fields = {"input_text": "x", "session_id": "s"}
        await self.store.enqueue(a_new_job(task_id, tenant_id=tenant, fields=fields))
        job = await self.store.claim(task_id, worker="w1")
        assert job is not None
        await self.store.settle(job, outcome, Evidence())
        task = dict(job.document)
        await self.log.write([user_message(task), assistant_message(task, "y", self.clock())])
        if counted:
            await self.documents.update_one({"_id": task_id}, {"$set": {"uncounted": False}})

    async def ids(self) -> set[str]:
        return {task["_id"] for task in await self.documents.find_many({}, limit=1000, fields=("_id",))}

    async def message_ids(self) -> set[str]:
        return {message["_id"] for message in await self.messages.find_many({}, limit=1000, fields=("_id",))}

    async def delete_messages(self, jobs: Sequence[ExpiredJob]) -> int:
        return await self.log.delete_of(job.id for job in jobs)

    def retention(self, *rules: Rule, belongings: Sequence[Any] = (), batch_size: int = 200) -> Retention:
        deletions = [*belongings, self.delete_messages]
        return Retention(self.documents, deletions, rules, clock=self.clock, batch_size=batch_size)


@pytest.fixture
def tasks(db: Database) -> Tasks:
    return Tasks(db, FakeClock())


async def test_each_kind_of_end_is_kept_for_its_own_time(tasks: Tasks) -> None:
    await tasks.end("done", Finished())
    await tasks.end("stopped", Cancelled())
    await tasks.end("dead", FAILED)
    retention = tasks.retention(DONE, DEAD)

    remaining = []
    for days in (2, 5):
        tasks.clock.advance(days * DAY - (tasks.clock() - FakeClock()()))
        await retention.delete_old()
        remaining.append(await tasks.ids())
        tasks.clock.advance(PAUSE)
        await retention.delete_old()
        remaining.append(await tasks.ids())

    assert remaining == [{"done", "stopped", "dead"}, {"dead"}, {"dead"}, set()]
    assert await tasks.message_ids() == set()


async def test_documents_that_name_their_task_go_with_it_and_another_tenants_stay(db: Database, tasks: Tasks) -> None:
    effects = Documents(db["effects"])
    for number, (tenant, task_id) in enumerate([(TENANT, "done"), (OTHER_TENANT, "done"), (TENANT, "other")]):
        await effects.insert({"_id": str(number), "tenant_id": tenant, "task_id": task_id})
    await tasks.end("done", Finished())
    tasks.clock.advance(3 * DAY)

    await tasks.retention(DONE, belongings=[by_task_id(effects)]).delete_old()

    assert {one["_id"] for one in await effects.find_many({}, limit=10)} == {"1", "2"}


async def test_what_is_open_or_not_yet_counted_stays_however_old(tasks: Tasks) -> None:
    await tasks.end("uncounted", Finished(), counted=False)
    await tasks.store.enqueue(a_new_job("waiting"))
    await tasks.end("revived", FAILED)
    await tasks.store.retry(TENANT, "revived", reset={}, request="r")
    tasks.clock.advance(100 * DAY)

    assert await tasks.retention(DONE, DEAD).delete_old() == 0
    assert await tasks.ids() == {"uncounted", "waiting", "revived"}


async def test_what_is_under_legal_hold_stays_however_old_and_keeps_nothing_else(tasks: Tasks) -> None:
    for number in range(3):
        await tasks.end(f"task-{number}", Finished())
    await tasks.documents.update_one({"_id": "task-0"}, {"$set": {LEGAL_HOLD: {"held": True}}})
    tasks.clock.advance(100 * DAY)
    retention = tasks.retention(DONE, batch_size=1)

    deleted = [await retention.delete_old() for _ in range(3)]

    assert deleted == [1, 1, 0]
    assert await tasks.ids() == {"task-0"}
    assert await tasks.message_ids() == {"task-0:user", "task-0:assistant"}


async def test_without_a_rule_everything_is_kept(tasks: Tasks) -> None:
    await tasks.end("done", Finished())
    tasks.clock.advance(1000 * DAY)

    assert await tasks.retention().delete_old() == 0
    assert await tasks.ids() == {"done"}


async def test_what_is_much_is_deleted_in_several_batches_a_pass(tasks: Tasks) -> None:
    number = 2 * MOST_BATCHES + 1
    for place in range(number):
        await tasks.end(f"task-{place}", Finished())
    tasks.clock.advance(3 * DAY)
    retention = tasks.retention(DONE, batch_size=2)

    deleted = [await retention.delete_batches() for _ in range(3)]

    assert deleted == [2 * MOST_BATCHES, 1, 0]


async def test_one_pass_deletes_a_batch_and_the_next_goes_on_at_once(tasks: Tasks) -> None:
    for number in range(5):
        await tasks.end(f"task-{number}", Finished(), tenant=TENANT if number % 2 else OTHER_TENANT)
    tasks.clock.advance(3 * DAY)
    retention = tasks.retention(DONE, batch_size=2)

    deleted = [await retention.delete_old() for _ in range(4)]

    assert deleted == [2, 2, 1, 0]
    assert await tasks.message_ids() == set()


async def test_a_task_that_is_being_deleted_is_gone_for_its_tenant_and_cannot_be_revived(tasks: Tasks) -> None:
    async def store_fails(_: Sequence[ExpiredJob]) -> None:
        raise StoreUnavailable("away")

    await tasks.end("dead", FAILED)
    tasks.clock.advance(6 * DAY)

    with pytest.raises(StoreUnavailable):
        await tasks.retention(DEAD, belongings=[store_fails]).delete_old()

    assert await tasks.ids() == {"dead"}
    with pytest.raises(NotFound):
        await tasks.store.retry(TENANT, "dead", reset={}, request="r")


@pytest.mark.parametrize("crash", ["before its messages", "after its messages"])
async def test_a_deletion_that_was_interrupted_is_finished_by_the_next_pass(tasks: Tasks, crash: str) -> None:
    seen: list[ExpiredJob] = []

    async def crash_once(jobs: Sequence[ExpiredJob]) -> None:
        if not seen:
            seen.extend(jobs)
            if crash == "after its messages":
                await tasks.delete_messages(jobs)
            raise StoreUnavailable("the process died here")

    await tasks.end("done", Finished())
    tasks.clock.advance(3 * DAY)
    retention = tasks.retention(DONE, belongings=[crash_once])

    with pytest.raises(StoreUnavailable):
        await retention.delete_old()
    deleted = await retention.delete_old()

    assert deleted == 1
    assert seen == [ExpiredJob("done", TENANT)]
    assert await tasks.ids() == set()
    assert await tasks.message_ids() == set()


async def test_a_retry_between_the_look_and_the_deletion_keeps_its_task(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tasks.end("dead", FAILED)
    tasks.clock.advance(6 * DAY)
    retention = tasks.retention(DEAD)
    find_many = tasks.documents.find_many

    async def found_and_then_retried(*args: Any, **options: Any) -> Any:
        found = await find_many(*args, **options)
        await tasks.store.retry(TENANT, "dead", reset={}, request="r")
        return found

    monkeypatch.setattr(tasks.documents, "find_many", found_and_then_retried)
    deleted = await retention.delete_old()
    monkeypatch.undo()

    assert deleted == 0
    assert (await tasks.store.get("dead")).status is Status.QUEUED
    assert await tasks.message_ids() == {"dead:user", "dead:assistant"}


async def test_with_nothing_to_do_it_rests_for_a_while(tasks: Tasks) -> None:
    retention = tasks.retention(DONE)
    await retention.delete_old()
    await tasks.end("done", Finished())
    await tasks.documents.update_one({"_id": "done"}, {"$set": {"completed_at": tasks.clock() - 3 * DAY}})

    at_once = await retention.delete_old()
    tasks.clock.advance(PAUSE)

    assert at_once == 0
    assert await retention.delete_old() == 1


async def test_only_the_old_part_of_a_history_goes(tasks: Tasks) -> None:
    for number in range(4):
        await tasks.end(f"task-{number}", Finished())
        tasks.clock.advance(DAY)
    tasks.clock.advance(-2 * DAY + SECOND + MOMENT)

    await tasks.retention(DONE).delete_old()

    assert await tasks.ids() == {"task-1", "task-2", "task-3"}
