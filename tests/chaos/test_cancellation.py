"""Cancel requests at every moment of a task's life: one final state, and nothing goes on after it."""

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.chaos.client import ChaosClient, Watcher
from tests.chaos.measurements import CANCEL_TO_STOPPED
from tests.chaos.nemesis import chosen_seed
from tests.chaos.verdict import Verdict
from tests.chaos.work import Step, Work, deaf, fail, sleep, tick, work
from tests.chaos.world import World

CLIENTS = 16
# Half a second until the worker asks for requests, and as long again for a machine that is busy with all the others.
STOPS_WITHIN = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What a task does, and when after its acceptance it is cancelled, in seconds from-to."""

    name: str
    steps: tuple[Step, ...]
    cancelled_after: tuple[float, float]


STAGES = (
    Stage("as soon as accepted", (sleep(0.5),), (0, 0)),
    Stage("while it is claimed", (sleep(0.5),), (0, 0.05)),
    Stage("while it runs", (tick(5),), (0.3, 1.0)),
    Stage("as it completes", (sleep(0.5),), (0.4, 0.65)),
    Stage("while it waits for a retry", (fail(),), (0.1, 0.5)),
    Stage("while it does not listen", (deaf(0.4), tick(3)), (0.1, 0.4)),
)


@pytest.mark.parametrize("times", [24, pytest.param(500, marks=pytest.mark.chaos)])
def test_a_cancelled_task_has_one_end_whenever_it_is_cancelled(
    times: int, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    dice = random.Random(chosen_seed())
    plans = [(stage, dice.uniform(*stage.cancelled_after)) for stage in STAGES * (times // len(STAGES) + 1)][:times]

    with Watcher(client), ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda one: submit_and_cancel(client, work(*one[0].steps), one[1]), plans))
        ended = client.all_final(patience=60)

    assert len(ended) == times
    assert {task["status"] for task in ended} <= {"completed", "cancelled", "failed"}
    assert {answer.status for answer in client.answers} <= {202, 409}
    assert all(task["status"] == "cancelled" for task in ended if was_granted_in_time(client, task["task_id"]))
    assert not [line for task in ended for line in work_after_the_end(world, client, task["task_id"])]
    verdict.check(world, client, spare_executions=0)


def submit_and_cancel(client: ChaosClient, wanted: Work, delay: float) -> None:
    task_id = client.submit(wanted)
    time.sleep(delay)
    client.cancel(task_id)


def was_granted_in_time(client: ChaosClient, task_id: str) -> bool:
    """Whether the answer to the request said that the task was cancelled then and there."""
    answers = [one for one in client.answers if one.path == f"/v1/tasks/{task_id}/cancel"]
    return any(one.status == 202 and one.body["status"] == "cancelled" for one in answers)


def work_after_the_end(world: World, client: ChaosClient, task_id: str) -> Sequence[str]:
    """What a handler still did when a client had been told that it is over."""
    told = min(
        one.at
        for one in client.snapshots
        if one.task_id == task_id and one.task["status"] in {"completed", "cancelled", "failed"}
    )
    return [f"{event.kind} of {task_id}" for event in world.events(task_id) if event.kind == "tick" and event.at > told]


def test_a_running_coroutine_stops_within_about_a_second(world: World, client: ChaosClient, verdict: Verdict) -> None:
    task_ids = [client.submit(work(tick(20))) for _ in range(20)]
    for task_id in task_ids:
        world.happened(task_id, "tick")

    asked_at = {task_id: client.cancel(task_id).at for task_id in task_ids}
    ended = client.all_final(patience=10)
    took = [world.happened(task_id, "cancelled").at - asked_at[task_id] for task_id in task_ids]

    assert {task["status"] for task in ended} == {"cancelled"}
    assert max(took) < STOPS_WITHIN
    verdict.time(CANCEL_TO_STOPPED, *took)
    verdict.check(world, client, spare_executions=0)
