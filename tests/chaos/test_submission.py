"""API processes die between a request and its answer; clients repeat themselves."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.ids import new_id
from tests.chaos.client import ChaosClient
from tests.chaos.failpoints import VARIABLE
from tests.chaos.verdict import Verdict
from tests.chaos.work import Work, effect, sleep, work
from tests.chaos.world import World
from tests.processes import until

CLIENTS = 50


def api_with(world: World, failpoint: str) -> None:
    world.apis[0].kill()
    world.faults.clear()
    world.apis[0].start(**{VARIABLE: failpoint})


DEATHS = [
    pytest.param("enqueue.after", id="between the insert and the ring"),
    # The first insert of a request with a key reserves the key.
    pytest.param("insert.after", id="between the reservation and the insert", marks=pytest.mark.chaos),
    pytest.param("enqueue.before", id="before the insert", marks=pytest.mark.chaos),
    pytest.param("ring.after", id="between the ring and the answer", marks=pytest.mark.chaos),
]


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.chaos
def test_a_request_that_is_repeated_after_the_api_died_makes_one_task(
    death: str, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    api_with(world, f"{death}:kill")
    key, wanted = new_id(), work(effect("mail"))

    first = client.try_submit(wanted, key=key, session_id=key)
    assert world.apis[0].wait() < 0
    world.revive()
    task_id = client.submit_stubbornly(wanted, key=key, session_id=key)
    task = client.final(task_id)

    assert first.status is None
    assert task["status"] == "completed"
    assert tasks_of_session(client, key) == [task_id]
    assert len(world.events(task_id, kind="effect")) == 1
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
def test_what_was_stored_before_the_api_died_is_done_though_nobody_was_told(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    api_with(world, "enqueue.after:kill")
    session = new_id()

    answer = client.try_submit(work(), session_id=session)
    assert world.apis[0].wait() < 0
    world.mend()
    (task_id,) = tasks_of_session(client, session)

    assert answer.status is None
    assert client.final(task_id)["status"] == "completed"
    verdict.check(world, client)


def tasks_of_session(client: ChaosClient, session_id: str) -> list[str]:
    page = client.http.get("/v1/tasks", params={"session_id": session_id}).json()
    return [item["task_id"] for item in page["items"]]


def test_fifty_clients_with_one_key_make_one_task_though_the_api_dies_among_them(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    key, wanted = new_id(), work(sleep(0.2))
    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(client.submit_stubbornly, wanted, key=key) for _ in range(CLIENTS)]
        until(lambda: client.answers, "the first answer")
        world.apis[0].kill()
        world.revive()
        task_ids = {one.result(60) for one in asked}
    other_body = client.try_submit(work(sleep(0.3)), key=key)

    (task_id,) = task_ids
    assert client.final(task_id)["status"] == "completed"
    assert (other_body.status, other_body.body["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
def test_everything_accepted_by_an_api_that_is_killed_again_and_again_is_done(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    over = threading.Event()

    def submit_for_ever(wanted: Work) -> int:
        made = 0
        while not over.is_set():
            client.submit_stubbornly(wanted, key=new_id())
            made += 1
        return made

    with ThreadPoolExecutor(10) as clients:
        asked = [clients.submit(submit_for_ever, work()) for _ in range(10)]
        for _ in range(8):
            accepted = len(client.accepted)
            until(lambda n=accepted: len(client.accepted) >= n + 50, "50 tasks more")  # type: ignore[misc]
            world.apis[0].kill()
            world.revive()
        over.set()
        made = sum(one.result(60) for one in asked)
    ended = client.all_final(patience=60)

    assert len(ended) == made
    assert {task["status"] for task in ended} == {"completed"}
    verdict.check(world, client, spare_executions=0)
