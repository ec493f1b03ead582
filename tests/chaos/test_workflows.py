"""Workers die while they drive executions and do their steps: all goes on, and nothing that finished is done again."""

import pytest

from tests.chaos.client import ChaosClient
from tests.chaos.execution_verdict import check_executions
from tests.chaos.verdict import Verdict
from tests.chaos.work import effect, sleep, tick
from tests.chaos.workflows import Executions, Json, answer_of, does, fan_out, workflow
from tests.chaos.world import World
from tests.processes import until

LEASE = 2.0
SLACK = 2.0
# Of a step whose worker was lost.
BACKOFF = 1.0
GO = {"event": "go", "data": 1}
ITEMS = 6


@pytest.fixture
def executions(client: ChaosClient) -> Executions:
    return Executions(client)


def mixed() -> Json:
    """Every way in which a step can begin and end: alone, beside others, by an event, and after everything."""
    fan = fan_out("mixed", ITEMS, sleep(0.05), effect("mail"), max_parallel=3, needs=["first"])
    steps: Json = {
        "first": does(effect("first"), answer="a"),
        **fan["steps"],
        "count": {"transform": {"number": "${{ size(steps.each.output) }}"}, "needs": ["each"]},
        "never": {**does(effect("never"), needs=["count"]), "if": "steps.count.output.number == 0"},
        "asked": {"wait": {"event": "go"}, "needs": ["count"]},
        "last": does(effect("last"), answer=answer_of("first") + "b", needs=["asked"]),
    }
    outputs = {"said": answer_of("last"), "number": "${{ steps.count.output.number }}"}
    return workflow("mixed", steps, inputs=fan["inputs"], outputs=outputs, **{"finally": {"bye": does(effect("bye"))}})


DEATHS = (
    "drive.before",
    "open_execution.after",
    "hand_out.before",
    "hand_out.after",
    "hand_out.before@4",
    "hand_out.after@4",
    "step.before",
    "step.after",
    "step.after@5",
    "settle.before",
    "settle.after",
    "settle.after@5",
    "step_settled.before@3",
    "hear_local.before@2",
    "note_end.before",
    "note_end.after",
    "note_end.after@2",
    "deliver.before",
    "look_for_news.before",
)
DEATHS_AFTER_THE_EVENT = ("hear_others.before", "hear_others.after", "mark_heard.before", "mark_heard.after")


@pytest.mark.chaos
@pytest.mark.parametrize("death", DEATHS + DEATHS_AFTER_THE_EVENT)
def test_wherever_the_driving_worker_dies_the_execution_goes_on(
    death: str, world: World, executions: Executions, verdict: Verdict
) -> None:
    place, _, nth = death.partition("@")
    worker = world.leave_one_worker(f"{place}:kill@{nth or 1}")
    execution_id = executions.begin(mixed())
    if death in DEATHS_AFTER_THE_EVENT:
        executions.in_status(execution_id, "waiting")
        assert executions.steer(execution_id, "signal", GO).status == 202

    assert worker.wait() < 0
    world.mend()
    if death not in DEATHS_AFTER_THE_EVENT:
        assert executions.steer(execution_id, "signal", GO).status == 202
    execution = executions.final(execution_id)

    assert (execution["status"], execution["outputs"]) == ("completed", {"said": "ab", "number": ITEMS})
    check_executions(verdict, world, executions, spare=1)


@pytest.mark.chaos
@pytest.mark.parametrize("killed", [1, 2])
def test_steps_and_driving_go_on_soon_after_their_workers_were_killed(
    killed: int, world: World, executions: Executions, verdict: Verdict
) -> None:
    name = executions.store(fan_out("interrupted", 40, tick(4)))
    begun = [executions.try_begin(name).work_id for _ in range(4)]
    until(lambda: len(running(world, begun)) == 160, "all run")

    for part in world.workers[:killed]:
        part.kill()
    if killed == len(world.workers):
        world.mend()
    ended = executions.all_final()

    assert [one["outputs"] for one in ended] == 4 * [{"said": [str(number) for number in range(40)]}]
    # Nobody can begin again before somebody is there.
    check_executions(verdict, world, executions, spare=1, recovery=LEASE + BACKOFF + SLACK if killed == 1 else None)


def running(world: World, begun: list[str]) -> set[str]:
    wanted = world.documents_of("steps", {"execution_id": {"$in": begun}})
    return {one.task_id for one in world.events(*wanted, kind="start")} if wanted else set()
