"""Tasks that wait for somebody: they outlive everything, one answer counts, and what was done is not done again."""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.client import EXECUTE, Answer, ChaosClient, Json
from tests.chaos.conftest import StartWorld
from tests.chaos.provider import Provider, repeats
from tests.chaos.verdict import Verdict
from tests.chaos.world import World
from tests.scenarios.stack import reasons

CODE = "Write a Python function that adds"
FLAGGED = {"checks": [{"type": "length", "min_words": 100_000}], "retries": 0, "on_failure": "flag"}
CLIENTS = 20
HELD: Mapping[str, Json] = {
    "budget": {"task": f"{CODE} 1.", "budget": {"model_calls": 1, "on_exceeded": "ask"}},
    "clarification": {"task": "Do it for me", "clarify": True},
    "review": {"task": f"{CODE} 3.", "agent": "CodeAgent", "evaluation": FLAGGED},
}
# What each of several clients says, and where.
ANSWERS: Mapping[str, Callable[[int], tuple[str, Json]]] = {
    "budget": lambda number: ("budget", {"model_calls": 10 + number}),
    "clarification": lambda number: ("clarify", {"text": f"I mean: write a Go function that adds {number}"}),
    "review": lambda number: ("review", {"decision": "accept" if number % 2 else "reject"}),
}


def submit_held(client: ChaosClient, kind: str) -> str:
    answer = client.post(EXECUTE, HELD[kind])
    assert answer.status == 202, answer
    assert client.in_status(answer.task_id, "awaiting_approval")["hold"]["kind"] == kind
    return answer.task_id


def restart_everything(world: World) -> None:
    for part in (*world.workers, *world.apis):
        part.kill()
    world.kill_store()
    world.kill_broker()
    world.mend()


def answer_at_once(client: ChaosClient, kind: str, task_id: str) -> Answer:
    """Many clients answer at the same moment, each something else; the one that counts."""

    def answer(number: int) -> Answer:
        place, body = ANSWERS[kind](number)
        return client.post(f"/v1/tasks/{task_id}/{place}", body, key=f"{task_id}-{number}")

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(answer, range(CLIENTS)))
    assert Counter(one.status for one in answers) == {202: 1, 409: CLIENTS - 1}
    assert {one.body["error"]["code"] for one in answers if one.status == 409} == {"TASK_NOT_WAITING"}
    return next(one for one in answers if one.status == 202)


@pytest.mark.chaos
def test_what_waits_for_somebody_outlives_a_restart_of_everything_and_takes_one_answer(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=2, simulator=True)
    client, provider = world.client(), Provider(world)
    held = {kind: submit_held(client, kind) for kind in HELD}
    before = world.documents(*held.values())

    restart_everything(world)

    assert world.documents(*held.values()) == before
    asked_before = len(provider.calls())
    winners = {kind: answer_at_once(client, kind, task_id) for kind, task_id in held.items()}
    world.workers[0].kill()
    world.revive()
    ended = {kind: client.final(task_id) for kind, task_id in held.items()}

    assert {kind: ended[kind]["status"] for kind in ("budget", "clarification")} == dict.fromkeys(
        ("budget", "clarification"), "completed"
    )
    said = next(number for number in range(CLIENTS) if winners["review"].key == f"{held['review']}-{number}")
    assert ended["review"]["status"] == ("completed" if said % 2 else "failed")
    assert all(reasons(task).count("resumed") == 1 for task in ended.values())
    lost = sum(reasons(task).count("worker_lost") for task in ended.values())
    assert repeats(provider.calls()) <= lost
    # The budget's text, the clarified routing and its text; what was flagged is not asked again.
    assert 3 <= len(provider.calls()) - asked_before <= 3 + lost
    verdict.check(world, client)
