"""Driving an execution when something comes in between."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.database.documents import Document, Documents
from app.database.errors import StoreFailure
from app.ids import new_id, new_trace_id
from app.jobs.models import Job, JobError, Status
from app.jobs.store import JobStore
from app.tasks.models import Caller
from app.workflows.executions.journal import PAGE
from app.workflows.executions.models import STEPS, Fork, Request, WorkflowRef
from app.workflows.executions.running import ExecutionRunner
from app.workflows.executions.service import new_execution
from app.workflows.executions.values import DEEPEST, LARGEST, ValueTooLarge, check_size, values_place_of
from tests.execution_fleet import Fleet
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON, REDISPATCH
from tests.unit.test_execution_meddling import FORK as OTHER
from tests.unit.test_execution_meddling import ID, steering_of
from tests.workflow_builders import JsonValues, a_plan, a_step, ref, template

HANDFUL = 300
DAY = timedelta(days=1)
Hook = Callable[[Document], Awaitable[None]]


class Watched(Documents):
    """Steps, before each of which is stored something happens."""

    hook: Hook

    async def insert_missing(self, documents: Iterable[Document]) -> frozenset[int]:
        given = list(documents)
        for one in given:
            await self.hook(one)
        return await super().insert_missing(given)


class WatchedFleet(Fleet):
    hook: Hook

    @property
    def steps(self) -> Documents:
        watched = Watched(self.database[STEPS])
        watched.hook = lambda document: self.hook(document)
        return watched


def a_fleet(folder: Path, steps: dict[str, Any], hook: Hook, **rest: Any) -> WatchedFleet:
    def work(path: str, given: Any) -> tuple[Any, JobError | None]:
        return {"path": path}, None

    fleet = WatchedFleet(fake_mongo()["tests"], a_plan(steps, **rest), JsonValues(), work, Random(1), folder)
    fleet.hook = hook
    del fleet.processes[1:]
    return fleet


async def executed(
    fleet: Fleet,
    *,
    execution_id: str = ID,
    fork: Fork | None = None,
    inputs: Any = None,
    meddle: Callable[[Job], Awaitable[None]] | None = None,
) -> tuple[Job, dict[str, Document]]:
    caller = Caller("default", "key", "request", new_trace_id())
    stored = await fleet.processes[0].values.put(values_place_of("default", execution_id), inputs or {})
    store = JobStore(fleet.executions, clock=fleet.clock, redispatch=REDISPATCH)
    request = Request(WorkflowRef("w", "example", "digest"), {}, forked_from=fork)
    await store.enqueue(new_execution(request, caller, execution_id, stored))
    async with asyncio.timeout(10):
        job = await fleet.run(execution_id, meddle=meddle)
    await fleet.close()
    steps = await fleet.steps.find_many({"execution_id": execution_id}, limit=100)
    return job, {one["path"]: one for one in steps}


async def test_a_step_that_is_being_handed_out_when_its_execution_is_cancelled_is_stopped(tmp_path: Path) -> None:
    async def cancel(document: Document) -> None:
        if document["path"] == "work":
            await steering_of(fleet).cancel("default", ID, by="ann")
            for _ in range(HANDFUL):
                await asyncio.sleep(0)

    fleet = a_fleet(tmp_path, {"work": {"agent": "worker"}}, cancel, **{"finally": {"tidy": {"agent": "worker"}}})

    job, steps = await executed(fleet)

    assert job.status == "cancelled"
    assert {path: step["status"] for path, step in steps.items()} == {"work": "cancelled", "finally.tidy": "completed"}


async def test_a_step_that_no_document_can_hold_fails_alone_and_finally_runs(tmp_path: Path) -> None:
    async def refuse(document: Document) -> None:
        if document["path"] == "large" and document["input"] is not None:
            raise StoreFailure("the store refused an operation: DocumentTooLarge")

    steps = {"large": {"agent": "worker"}, "small": {"agent": "worker"}}
    fleet = a_fleet(tmp_path, steps, refuse, **{"finally": {"tidy": {"agent": "worker"}}})

    job, found = await executed(fleet)

    assert job.document["fault"]["path"] == "large"
    assert {path: step["end"] for path, step in found.items()} == {
        "large": "failed",
        "small": "succeeded",
        "finally.tidy": "succeeded",
    }


async def test_an_execution_goes_on_that_was_resumed_by_somebody_who_died_before_he_told_a_driver(
    tmp_path: Path,
) -> None:
    async def pause(document: Document) -> None:
        if document["path"] == "first":
            await steering_of(fleet).pause("default", ID, by="ann")

    async def resume_in_silence(job: Job) -> None:
        if job.status is Status.AWAITING_APPROVAL and job.document["paused_at"]:
            await fleet.executions.update_one({"_id": ID}, {"$set": {"paused_at": None}})

    fleet = a_fleet(tmp_path, {"first": {"agent": "worker"}, "then": a_step("first")}, pause)

    job, steps = await executed(fleet, meddle=resume_in_silence)

    assert job.status is Status.COMPLETED
    assert list(steps) == ["first", "then"]
    assert [entry["event"] for entry in job.document["log"]] == ["started", "paused", "resumed", "ended"]


async def test_news_are_looked_for_of_the_execution_that_was_driven_whichever_the_message_named() -> None:
    asked: list[str] = []

    class Driver:
        async def has_news(self, execution_id: str) -> bool:
            asked.append(execution_id)
            return False

    class Runner:
        async def run(self, job_id: str, *, worker: str) -> Any:
            return SimpleNamespace(id="the-first-in-line")

    unused = cast("Any", None)
    runner = ExecutionRunner(cast("Any", Driver()), cast("Any", Runner()), unused, unused, unused, unused)

    await runner.run("the-named-one", worker="w1")

    assert asked == ["the-first-in-line"]


async def test_a_value_that_is_named_too_often_fails_its_step_alone(tmp_path: Path) -> None:
    text = "x" * (LARGEST // 4)
    often = {f"part{number}": template(ref("inputs", "text")) for number in range(4)}
    steps = {"often": {"transform": often, "on_error": "continue"}, "given": {"agent": "worker", "with": often}}
    fleet = a_fleet(tmp_path, steps, _nothing, **{"finally": {"tidy": {"agent": "worker"}}})

    job, found = await executed(fleet, inputs={"text": text})

    assert job.document["fault"]["type"] == "VALUE_TOO_LARGE"
    assert {path: (step["end"], step["fault"] and step["fault"]["type"]) for path, step in found.items()} == {
        "often": ("failed", "VALUE_TOO_LARGE"),
        "given": ("failed", "VALUE_TOO_LARGE"),
        "finally.tidy": ("succeeded", None),
    }


def test_a_value_that_doubles_again_and_again_is_measured_at_once() -> None:
    value: Any = "x"
    for _ in range(DEEPEST - 1):
        value = [value, value]

    with pytest.raises(ValueTooLarge, match="characters"):
        check_size(value)
    with pytest.raises(ValueTooLarge, match="deeper"):
        check_size([[value]])


TOLERANT: dict[str, Any] = {
    "frail": a_step(on_error="continue"),
    "each": a_step(for_each=template(ref("inputs", "items")), on_item_error="collect"),
    "group": {"on_error": "continue", "steps": {"inner": a_step()}},
    "after": a_step("frail", "each", "group"),
    "last": a_step("after"),
}
FRAIL = {"frail", "each[1]", "group.inner"}


async def tolerant(folder: Path) -> WatchedFleet:
    """One whose execution has failed at its last step, after failures that did not matter."""

    def work(path: str, given: Any) -> tuple[Any, JobError | None]:
        fails = path in FRAIL or (path == "last" and fleet.begun[path] == 1)
        return None, JobError("BROKEN", "it broke") if fails else None

    fleet = a_fleet(folder, TOLERANT, _nothing)
    fleet.work = work
    job, _ = await executed(fleet, inputs={"items": [1, 2]})
    assert job.document["fault"]["path"] == "last"
    return fleet


async def test_a_retry_does_again_only_what_stood_in_the_way(tmp_path: Path) -> None:
    fleet = await tolerant(tmp_path)
    before = dict(fleet.begun)

    await steering_of(fleet).retry("default", ID, by="ann")
    job = await fleet.run(ID)
    await fleet.close()

    assert job.status is Status.COMPLETED
    assert before.keys() == {*FRAIL, "each[0]", "after", "last"}
    assert fleet.begun == {**before, "last": 2}


async def test_a_fork_takes_over_failures_that_did_not_matter(tmp_path: Path) -> None:
    fleet = await tolerant(tmp_path)
    before = dict(fleet.begun)

    job, _ = await executed(fleet, execution_id=OTHER, fork=Fork(ID, "last"), inputs={"items": [1, 2]})

    assert job.status is Status.COMPLETED
    assert fleet.begun == {**before, "last": 2}


async def test_a_retry_stops_what_its_last_series_left_open(tmp_path: Path) -> None:
    async def fail(document: Document) -> None:
        # As the kernel does with one that was lost too often.
        if document["path"] == "first" and document["series"] == 1:
            left = {"_id": new_id(), "path": "left", "status": "queued", "lease": None, "not_before": NOON + DAY}
            await fleet.steps.insert({**document, **left})
            await fleet.executions.update_one({"_id": ID}, {"$set": {"status": "failed", "completed_at": NOON}})

    fleet = a_fleet(tmp_path, {"first": {"agent": "worker"}}, fail)
    await executed(fleet)

    await steering_of(fleet).retry("default", ID, by="ann")
    job = await fleet.run(ID)
    await fleet.close()

    left = await fleet.steps.find_one({"path": "left"})
    assert left is not None
    assert (job.status, left["status"]) == (Status.COMPLETED, Status.CANCELLED)


@pytest.mark.parametrize("until", ["tomorrow", "2026-01-01T00:00:00", "9999-12-31T23:59:59-12:00"])
async def test_a_wait_until_what_is_no_point_in_time_fails_its_step_alone(tmp_path: Path, until: str) -> None:
    steps = {"wait": {"wait": {"until": template(ref("inputs", "until"))}}}
    fleet = a_fleet(tmp_path, steps, _nothing, **{"finally": {"tidy": {"agent": "worker"}}})

    job, found = await executed(fleet, inputs={"until": until})

    assert job.document["fault"]["type"] == "EXPRESSION_FAILED"
    assert found["finally.tidy"]["end"] == "succeeded"


async def test_steps_that_were_given_one_number_twice_are_all_read(tmp_path: Path) -> None:
    fleet = a_fleet(tmp_path, {"one": {"agent": "worker"}}, _nothing)
    _, found = await executed(fleet)
    for number in range(PAGE + 1):
        twin = {**found["one"], "_id": f"{number:05}", "seq": number // 2 * 2, "execution_id": "other"}
        await fleet.steps.insert(twin)

    read = [one["_id"] async for one in fleet.processes[0].journal.read_all("other")]

    assert read == sorted(read)
    assert len(read) == PAGE + 1


async def _nothing(document: Document) -> None:
    """Nothing comes in between."""
