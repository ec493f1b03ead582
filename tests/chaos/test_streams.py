"""Event streams across restarts of everything that serves or changes a task: no gap, no event twice."""

import pytest

from tests.chaos.client import ChaosClient
from tests.chaos.nemesis import Nemesis, drain_worker, kill_api, kill_worker, pause_worker
from tests.chaos.streams import Follower, following
from tests.chaos.verdict import Verdict
from tests.chaos.work import fail, sleep, work
from tests.chaos.world import World
from tests.processes import until

FAULTS = {"api": kill_api, "kill": kill_worker, "drain": drain_worker, "pause": pause_worker}


def check_streams(world: World, followers: list[Follower]) -> None:
    """Each was told the whole history that the store holds, once and in order."""
    documents = world.documents(*(one.task_id for one in followers))
    for follower in followers:
        history = documents[follower.task_id]["history"]
        assert follower.events == [(entry["seq"], entry["status"]) for entry in numbered(history)]


def numbered(history: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{"seq": place, **entry} for place, entry in enumerate(history, start=1)]


@pytest.mark.chaos
def test_a_stream_that_breaks_with_the_api_and_with_the_worker_goes_on_where_it_was(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    task_ids = [client.submit(work(sleep(1.5), fail(), only_attempts=(1,))) for _ in range(20)]
    with following(client, task_ids) as followers:
        until(lambda: all(len(one.events) >= 2 for one in followers), "each is told that its task runs")
        world.apis[0].kill()
        world.workers[0].kill()
        world.revive()

    check_streams(world, followers)
    assert min(follower.connections for follower in followers) > 1
    verdict.check(world, client)


@pytest.mark.chaos
def test_streams_of_many_tasks_have_no_gap_and_no_repetition_whatever_dies(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    task_ids = [
        client.submit(work(sleep(number % 10), fail(), only_attempts=(1, 2)), retry={"max_attempts": 20})
        for number in range(120)
    ]
    with following(client, task_ids) as followers:
        Nemesis(world, FAULTS).run(seconds=40)

    check_streams(world, followers)
    verdict.figure("stream connections", sum(one.connections for one in followers), f"of {len(followers)} clients")
    verdict.check(world, client)
