"""A filter by status finds exactly what is shown in that status."""

from itertools import product

from app.database.documents import Documents
from app.jobs.documents import to_job
from app.jobs.models import Status
from app.workflows.executions.listing import (
    ExecutionQuery,
    StepQuery,
    StepStatus,
    status_of_step,
    where_execution,
    where_step,
)
from app.workflows.executions.models import ExecutionStatus, status_of
from app.workflows.planner import End
from tests.execution_builders import a_step, an_execution
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON

EVENT = {"what": "event", "event": "paid"}
APPROVAL = {"what": "approval", "quorum": 1}


async def test_executions_are_found_by_the_status_that_they_are_shown_in() -> None:
    documents = Documents(fake_mongo()["tests"]["executions"])
    for status, paused, begun, idle in product(
        Status, (None, NOON), (None, NOON), (None, "waiting", "awaiting_approval")
    ):
        one = an_execution(status=status.value, paused_at=paused, begun_at=begun, idle_for=idle)
        await documents.insert(dict(one.document))
    everything = await documents.find_many({}, limit=1000)

    for wanted in ExecutionStatus:
        found = await documents.find_many(where_execution(ExecutionQuery(wanted)), limit=1000)
        shown = {one["_id"] for one in everything if status_of(to_job(one)) is wanted}
        assert {one["_id"] for one in found} == shown, wanted
        assert shown, wanted


async def test_steps_are_found_by_the_status_that_they_are_shown_in() -> None:
    documents = Documents(fake_mongo()["tests"]["steps"])
    waiting = {Status.QUEUED, Status.AWAITING_APPROVAL}
    for status, end, waits in product(Status, (None, *End), (None, EVENT, APPROVAL)):
        # Without a wait a step is never suspended, and only what is final has an end.
        if (end is not None and not status.is_final) or (status is Status.AWAITING_APPROVAL and waits is None):
            continue
        if status in waiting or status.is_final or waits is None:
            await documents.insert(a_step(status=status.value, end=end and end.value, waits_for=waits))
    everything = await documents.find_many({}, limit=1000)

    for wanted in StepStatus:
        found = await documents.find_many(where_step(StepQuery(wanted)), limit=1000)
        shown = {one["_id"] for one in everything if status_of_step(one) is wanted}
        assert {one["_id"] for one in found} == shown, wanted
        assert shown, wanted
