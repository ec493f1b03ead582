"""Tasks of one session at the same time while workers die: its memory is whole, and nothing is in it twice."""

import pytest
from pymongo import MongoClient

from app.sessions.models import COLLECTION
from tests.chaos.client import EXECUTE, ChaosClient, Json
from tests.chaos.conftest import StartWorld
from tests.chaos.nemesis import Nemesis, kill_worker
from tests.chaos.provider import Provider, repeats
from tests.chaos.test_agents import lost_attempts
from tests.chaos.verdict import Verdict
from tests.chaos.world import DATABASE, World
from tests.processes import until

SESSION = "sums"
EARLIER, TOGETHER = 3, 10
SETTINGS = {
    "SESSION_CONTEXT_TOKENS": "200",
    "SESSION_SUMMARY_TOKENS": "50",
    # Twice as long nobody tries again what a killed worker had begun.
    "LLM_TIMEOUT_SEC": "2",
    "TASK_MAX_ATTEMPTS": "20",
    "RETRY_MAXIMUM_SEC": "1",
}


def question(number: int) -> str:
    return f"Write a Python function that adds {number}."


def submit(client: ChaosClient, number: int) -> str:
    answer = client.post(EXECUTE, {"task": question(number), "agent": "CodeAgent", "session_id": SESSION})
    assert answer.status == 202, answer
    return answer.task_id


def session_of(world: World) -> Json:
    with MongoClient[Json](world.store.mongo_uri, tz_aware=True) as store:
        found = store[DATABASE][COLLECTION].find_one({"session_id": SESSION})
    assert found is not None
    return found


@pytest.mark.chaos
def test_tasks_of_one_session_condense_each_turn_once_while_workers_die(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=3, simulator=True, settings=SETTINGS)
    client, provider = world.client(), Provider(world)
    for number in range(EARLIER):
        client.final(submit(client, number))
    provider.order(latency=1.0)

    for number in range(EARLIER, EARLIER + TOGETHER):
        submit(client, number)
    until(lambda: len(world.events(kind="claimed")) >= EARLIER + TOGETHER, "all of them run")
    Nemesis(world, {"kill": kill_worker}).run(seconds=5)
    client.all_final(patience=60)
    provider.heal()
    ended = [*client.all_final(), client.final(submit(client, EARLIER + TOGETHER))]

    session, calls = session_of(world), [call for call in provider.calls() if call.role == "memory"]
    documents = world.documents(*client.accepted)
    lost = lost_attempts(documents.values())
    covers = (session["memory"]["covers"]["asked_at"], session["memory"]["covers"]["task_id"])
    covered = [one for one in documents.values() if (one["created_at"], one["_id"]) <= covers]
    told = [f"Asked: {one['input_text']}" for one in sorted(covered, key=lambda one: (one["created_at"], one["_id"]))]
    facts = [fact.partition(" Answered:")[0] for fact in session["memory"]["facts"]]
    assert {task["status"] for task in ended} == {"completed"}, [task["error"] for task in ended]
    assert covers[1] in documents
    # A turn that ended late may be missing; none is there twice, or out of its place.
    assert facts == [fact for fact in told if fact in set(facts)]
    assert 1 <= session["version"] <= len(calls) <= session["version"] + lost
    assert repeats(calls) <= lost
    said = client.http.get(f"/v1/sessions/{SESSION}/messages", params={"page_size": 100}).json()["items"]
    assert sorted(one["content"] for one in said if one["role"] == "user") == sorted(
        document["input_text"] for document in documents.values()
    )
    verdict.figure("summaries of a session", session["version"], f"for {len(documents)} tasks, {len(calls)} calls")
    verdict.check(world, client)
