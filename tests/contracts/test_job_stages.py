"""Jobs whose work has a stage before the rest: who does which, in which order, and what messages are about."""

from app.database.documents import Documents
from app.ids import new_token
from app.jobs.dispatch import Taken
from app.jobs.history import read_history
from app.jobs.lanes import EVERYBODY, Stage
from app.jobs.limits import Limits
from app.jobs.models import Job, Reason, Status
from app.jobs.outcomes import Evaluated, Finished, RetryAt, Suspended
from app.jobs.recovery import Recovery
from app.jobs.transitions import Evidence
from tests.contracts.job_fleet import LONG, Fleet, tenants
from tests.job_builders import OTHER_TENANT, REDISPATCH, TENANT, a_new_job

FIRST = Stage.EVALUATION


async def add(fleet: Fleet, number: int, *, tenant: str = TENANT) -> list[str]:
    """Jobs that are to be evaluated first."""
    ids = [f"{tenant}-{new_token()}" for _ in range(number)]
    for job_id in ids:
        await fleet.store.enqueue(a_new_job(job_id, tenant_id=tenant, stage=FIRST))
    return ids


async def evaluated(fleet: Fleet, taken: Taken | None) -> Job:
    assert taken is not None
    await fleet.store.settle(taken.job, Evaluated(taken.job.tenant_id), Evidence())
    return await fleet.store.get(taken.job.id)


async def test_after_its_evaluation_a_job_is_there_for_the_rest_and_no_attempt_is_charged(fleet: Fleet) -> None:
    [job_id] = await add(fleet, 1)
    worker = fleet.worker()

    between = await evaluated(fleet, await worker.take(job_id, worker="w1", stage=FIRST))
    not_again = await worker.take(job_id, worker="w1", stage=FIRST)
    taken = await worker.take(job_id, worker="w2")
    assert taken is not None
    await fleet.store.settle(taken.job, Finished(), Evidence())

    assert (between.status, between.stage, between.attempt) == (Status.QUEUED, None, 0)
    assert not_again is None
    assert taken.job.attempt == 1
    done = await fleet.store.get(job_id)
    reasons = [entry.reason for entry in read_history(done.document["history"])]
    assert reasons == [Reason.ACCEPTED, Reason.CLAIMED, Reason.EVALUATED, Reason.CLAIMED, Reason.FINISHED]


async def test_whoever_only_evaluates_never_takes_anything_else(fleet: Fleet) -> None:
    [plain] = await fleet.add(1)
    [staged] = await add(fleet, 1)
    worker = fleet.worker()

    taken = [await worker.take(job_id, worker="w1", stage=FIRST) for job_id in (plain, plain, plain)]

    assert [one.job.id for one in taken if one] == [staged]


async def test_a_backlog_of_work_keeps_no_evaluation_waiting_and_the_other_way_round(fleet: Fleet) -> None:
    plain = await fleet.add(20)
    staged = await add(fleet, 20)
    fleet.clock.advance(LONG)
    worker = fleet.worker()

    first = [await worker.take(plain[0], worker="w1", stage=FIRST) for _ in range(10)]
    then = [await worker.take(plain[0], worker="w1") for _ in range(10)]

    assert {one.job.id for one in first if one} < set(staged)
    assert {one.job.id for one in then if one} < set(plain)
    assert None not in first + then


async def test_evaluations_are_shared_among_tenants_by_their_weights(fleet: Fleet) -> None:
    bells = await add(fleet, 40) + await add(fleet, 40, tenant=OTHER_TENANT)
    fleet.clock.advance(LONG)
    worker = fleet.worker(weights={TENANT: 3.0})

    taken = [await worker.take(job_id, worker="w1", stage=FIRST) for job_id in bells[:20]]

    assert 14 <= tenants([one for one in taken if one])[TENANT] <= 16


async def test_no_limit_on_work_keeps_an_evaluation_waiting(fleet: Fleet) -> None:
    first, second = await add(fleet, 2)
    [plain] = await fleet.add(1)
    worker = fleet.worker(limits=Limits(tenants={EVERYBODY: 1}))

    running = await worker.take(plain, worker="w1")
    taken = [await worker.take(job_id, worker="w1", stage=FIRST) for job_id in (first, second)]

    assert running is not None
    assert [one.job.id for one in taken if one] == [first, second]


async def test_an_evaluation_that_is_tried_again_or_lost_its_message_is_rung_for_as_one(fleet: Fleet) -> None:
    failed, silent = await add(fleet, 2)
    recovery = Recovery(Documents(fleet.database["jobs"]), clock=fleet.clock, redispatch=REDISPATCH)
    taken = await fleet.worker().take(failed, worker="w1", stage=FIRST)
    assert taken is not None

    await fleet.store.settle(taken.job, RetryAt(fleet.clock()), Evidence())
    fleet.clock.advance(REDISPATCH)
    due, lost = await recovery.list_due(), await recovery.list_silent()

    assert [(job.id, job.stage) for job in due + lost] == [(failed, FIRST), (silent, FIRST)]
    for job in due + lost:
        assert await recovery.mark_rung(job.id, lane=job.lane, dispatches=job.dispatches)
    again = [await fleet.worker().take(job_id, worker="w1", stage=FIRST) for job_id in (failed, silent)]
    assert [one.job.id for one in again if one] == [failed, silent]


async def test_what_people_let_go_on_or_begin_anew_goes_straight_to_the_work(fleet: Fleet) -> None:
    held, given_up = await add(fleet, 2)
    worker = fleet.worker()
    taken = await worker.take(held, worker="w1", stage=FIRST)
    assert taken is not None
    await fleet.store.settle(taken.job, Suspended(), Evidence())
    await fleet.store.cancel(TENANT, given_up)

    resumed = await fleet.store.resume(TENANT, held, where={}, fields={}, request="r1")
    retried = await fleet.store.retry(TENANT, given_up, reset={}, request="r2")

    assert (resumed.stage, retried.stage) == (None, None)
    assert [await worker.take(one, worker="w1", stage=FIRST) for one in (held, given_up)] == [None, None]
    done = [await worker.take(one, worker="w1") for one in (held, given_up)]
    assert [one.job.id for one in done if one] == [held, given_up]
