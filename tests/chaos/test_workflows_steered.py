"""Executions are cancelled, paused, answered and left waiting while workers and APIs come and go."""

import pytest

from app.ids import new_id
from tests.chaos.client import ChaosClient
from tests.chaos.conftest import StartWorld
from tests.chaos.execution_verdict import check_executions, steps_of
from tests.chaos.failpoints import VARIABLE
from tests.chaos.measurements import CANCEL_TO_STOPPED, DUE_TO_CLAIM, quantile
from tests.chaos.verdict import Verdict
from tests.chaos.work import effect, sleep, tick
from tests.chaos.workflows import Executions, Json, chain, does, fan_out, workflow
from tests.chaos.world import World
from tests.processes import until

STOPS_WITHIN = 2.0
# More than one worker has slots for.
MANY = 130
GO = {"event": "go", "data": 1}
ENDING = {"finally": {"bye": does(effect("bye"))}}


@pytest.fixture
def executions(client: ChaosClient) -> Executions:
    return Executions(client)


def long_ones(executions: Executions) -> str:
    """An execution with steps on both workers, and one in a workflow that it calls."""
    executions.store(workflow("called", {"inner": does(tick(60))}, **ENDING))
    fan = fan_out("long", MANY, tick(60))
    steps = {**fan["steps"], "call": {"workflow": "called"}}
    return executions.begin({**fan, "steps": steps, "outputs": {}, **ENDING})


def ids_of(world: World, execution_id: str, *paths: str) -> list[str]:
    """Of the steps, all of them when no path is given."""
    return [one["_id"] for path, one in steps_of(world, execution_id).items() if not paths or path in paths]


def all_tick(world: World, execution_id: str, number: int) -> list[str]:
    """The ids of the steps that run, once so many do."""
    until(
        lambda: len({one.task_id for one in world.events(*ids_of(world, execution_id), kind="tick")}) == number,
        f"{number} steps run",
    )
    return [one.task_id for one in world.events(*ids_of(world, execution_id), kind="start")]


def effects(world: World, execution_id: str) -> list[str]:
    return sorted(one.detail for one in world.events(*ids_of(world, execution_id), kind="effect"))


def test_a_cancel_request_stops_every_step_on_both_workers_and_what_ends_it_still_runs(
    world: World, executions: Executions, verdict: Verdict
) -> None:
    execution_id = long_ones(executions)
    running = all_tick(world, execution_id, MANY + 1)
    workers = {one.pid for one in world.events(*running, kind="start")}

    asked_at = executions.steer(execution_id, "cancel").at
    execution = executions.final(execution_id)
    took = [world.happened(one, "cancelled").at - asked_at for one in running]

    assert workers == {part.pid for part in world.workers}
    assert execution["status"] == "cancelled"
    assert max(took) < STOPS_WITHIN
    assert effects(world, execution_id) == ["bye", "bye"]
    verdict.time(f"{CANCEL_TO_STOPPED} (steps)", *took)
    check_executions(verdict, world, executions, spare=0)


@pytest.mark.chaos
def test_an_execution_that_is_cancelled_while_everybody_is_dead_ends_as_cancelled(
    world: World, executions: Executions, verdict: Verdict
) -> None:
    execution_id = long_ones(executions)
    all_tick(world, execution_id, MANY + 1)

    for part in world.workers:
        part.kill()
    assert executions.steer(execution_id, "cancel").status == 202
    world.mend()
    execution = executions.final(execution_id)

    assert execution["status"] == "cancelled"
    assert effects(world, execution_id) == ["bye", "bye"]
    # Who takes over a step may be quicker than who takes over driving, and has it stopped.
    check_executions(verdict, world, executions, spare=1)


@pytest.mark.chaos
def test_a_paused_execution_stays_paused_over_the_death_of_all_workers_and_goes_on_where_it_was(
    world: World, executions: Executions, verdict: Verdict
) -> None:
    execution_id = executions.begin(chain("paused", 20, sleep(0.1), effect("mail")))
    until(lambda: len(effects(world, execution_id)) >= 3, "three steps ended")

    executions.steer(execution_id, "pause")
    rests = {"_id": execution_id, "status": "awaiting_approval"}
    until(lambda: world.documents_of("executions", rests), "nobody drives it any more")
    done = effects(world, execution_id)
    for part in world.workers:
        part.kill()
    world.mend()
    probe = executions.begin(chain("probe", 3))
    executions.final(probe)
    paused, still_done = executions.read(execution_id), effects(world, execution_id)
    executions.steer(execution_id, "resume")
    execution = executions.final(execution_id)

    assert paused["status"] == "paused"
    assert still_done == done
    assert (execution["status"], execution["outputs"]) == ("completed", {"said": 20 * "a"})
    assert effects(world, execution_id) == 20 * ["mail"]
    check_executions(verdict, world, executions, spare=0)


def waiting(name: str, wait: Json) -> Json:
    return workflow(name, {"wait": wait, "then": does(effect("then"), answer="ok", needs=["wait"])})


WAITS = {
    "for-time": {"wait": {"for": "1h"}},
    "for-event": {"wait": {"event": "go"}},
    "for-event-in-time": {"wait": {"event": "go", "timeout": "1h"}},
    "for-people": {"approval": {"message": "may it go on?"}},
    "for-people-in-time": {"approval": {"message": "may it?", "expires_in": "1h", "on_expiry": "reject"}},
}


@pytest.mark.chaos
def test_executions_that_wait_hold_no_slot(start_world: StartWorld, verdict: Verdict) -> None:
    world = start_world(workers=1, settings={"WORKER_SLOTS": "1"})
    executions = Executions(world.client())
    at_rest = [executions.begin(waiting(name, wait)) for name, wait in WAITS.items()]
    for execution_id in at_rest:
        executions.in_status(execution_id, "waiting", "awaiting_approval")

    execution = executions.final(executions.begin(chain("busy", 10)))
    for execution_id in at_rest:
        executions.steer(execution_id, "cancel")
    ended = [executions.final(execution_id)["status"] for execution_id in at_rest]

    assert execution["outputs"] == {"said": 10 * "a"}
    assert set(ended) == {"cancelled"}
    check_executions(verdict, world, executions, spare=0)


@pytest.mark.chaos
def test_timers_events_and_approvals_survive_the_death_of_everything_but_the_store(
    world: World, executions: Executions, verdict: Verdict
) -> None:
    timer = executions.begin(waiting("soon", {"wait": {"for": "4s"}}))
    event = executions.begin(waiting("for-event", WAITS["for-event"]))
    people = executions.begin(waiting("for-people", WAITS["for-people"]))
    for execution_id in (timer, event, people):
        executions.in_status(execution_id, "waiting", "awaiting_approval")

    for part in (*world.apis, *world.workers):
        part.kill()
    world.kill_broker()
    world.restart_broker()
    world.mend()
    answers = [executions.steer(event, "signal", GO), executions.steer(people, "steps/wait/approve", {})]
    ended = {one["status"] for one in executions.all_final()}

    assert [one.status for one in answers] == [202, 202]
    assert ended == {"completed"}
    assert [effects(world, one) for one in (timer, event, people)] == 3 * [["then"]]
    check_executions(verdict, world, executions, spare=0)


DEATHS_OF_APIS = {
    # Where, and whether the client has to ask again.
    "keep_signal.before": True,
    "keep_signal.after": True,
    "conclude.before": True,
    "conclude.after": False,
    "wake.before": False,
    "wake.after": False,
}


@pytest.mark.chaos
@pytest.mark.parametrize("death", DEATHS_OF_APIS)
@pytest.mark.parametrize("wanted", ["event", "approval"])
def test_an_answer_is_taken_once_wherever_the_api_dies(
    wanted: str, death: str, world: World, executions: Executions, verdict: Verdict
) -> None:
    if wanted == "approval" and death.startswith("keep_signal"):
        pytest.skip("no approval passes there")
    wait = WAITS["for-event" if wanted == "event" else "for-people"]
    execution_id = executions.begin(waiting(f"{wanted}-answered", wait))
    executions.in_status(execution_id, "waiting", "awaiting_approval")
    verb, body = ("signal", GO) if wanted == "event" else ("steps/wait/approve", {})
    dying = world.start_api(**{VARIABLE: f"{death}:kill"})
    key = new_id() if wanted == "event" else None

    lost = Executions(world.client(-1)).steer(execution_id, verb, body, key=key)
    dying.wait()
    world.apis.remove(dying)
    if DEATHS_OF_APIS[death]:
        # A vote may have been kept before its API died.
        assert executions.steer(execution_id, verb, body, key=key).status in {202, 409}
    execution = executions.final(execution_id)

    assert lost.status is None
    assert execution["status"] == "completed"
    assert effects(world, execution_id) == ["then"]
    check_executions(verdict, world, executions, spare=0)


@pytest.mark.chaos
def test_timers_of_executions_are_on_time_though_the_sweeping_worker_dies(
    world: World, executions: Executions, verdict: Verdict
) -> None:
    name = executions.store(workflow("timed", {"wait": {"wait": {"for": "6s"}}}))
    begun = [executions.try_begin(name).work_id for _ in range(50)]
    wanted = {"execution_id": {"$in": begun}}
    waiting_steps = until(lambda: full(world.documents_of("steps", wanted), 50), "fifty wait")
    turns = world.events(kind="sweeps")

    next(part for part in world.workers if part.pid == turns[-1].pid).kill()
    world.mend()
    executions.all_final()
    late = [float(one.detail) for one in world.events(*waiting_steps, kind="claimed")]

    assert len(late) == 50
    assert quantile(late, 0.99) < 2.0
    verdict.time(f"{DUE_TO_CLAIM} (executions, sweeper killed)", *late)
    check_executions(verdict, world, executions, spare=0)


def full(found: dict[str, Json], number: int) -> dict[str, Json] | None:
    return found if len(found) >= number else None
