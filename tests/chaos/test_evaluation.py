"""Outputs that are judged, and written again, while workers die: one verdict, and a price that is what was billed."""

import pytest

from tests.chaos.client import EXECUTE, ChaosClient
from tests.chaos.conftest import StartWorld
from tests.chaos.nemesis import Nemesis, kill_worker
from tests.chaos.provider import Provider
from tests.chaos.test_agents import lost_attempts
from tests.chaos.verdict import Verdict
from tests.processes import until

TASKS = 16
RETRIES = 2
EVALUATION = {
    "rubric": {"criteria": [{"name": "subject", "description": "Zebras graze beside granite harbours."}]},
    "retries": RETRIES,
    "on_failure": "accept",
}
SETTINGS = {"TASK_MAX_ATTEMPTS": "20", "RETRY_MAXIMUM_SEC": "1"}
# A text, and a judgement of it.
CALLS_A_ROUND = 2


def submit(client: ChaosClient, number: int) -> str:
    text = f"Write a Python function that adds {number}. [[sim latency=0.5]]"
    answer = client.post(EXECUTE, {"task": text, "agent": "CodeAgent", "evaluation": EVALUATION})
    assert answer.status == 202, answer
    return answer.task_id


@pytest.mark.chaos
def test_a_verdict_is_one_and_every_round_is_paid_once_while_workers_die(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=3, simulator=True, settings=SETTINGS)
    client, provider = world.client(), Provider(world)
    task_ids = [submit(client, number) for number in range(TASKS)]

    until(provider.calls, "the first call is over")
    Nemesis(world, {"kill": kill_worker}).run(seconds=6)
    ended = client.all_final(patience=90)

    calls, lost = provider.calls(), lost_attempts(world.documents(*task_ids).values())
    assert {task["status"] for task in ended} == {"completed"}, [task["error"] for task in ended]
    assert all(task["result"]["evaluation"]["rounds"] <= 1 + RETRIES for task in ended)
    assert {task["result"]["evaluation"]["passed"] for task in ended} == {False}
    unpaid = len(calls) - sum(task["cost"]["model_calls"] for task in ended)
    # Of a killed attempt the call it was in, and the verdict that it had not written down yet.
    assert 0 <= unpaid <= CALLS_A_ROUND * lost
    tokens = sum(call.tokens for call in calls) - sum(task["cost"]["total_tokens"] for task in ended)
    assert 0 <= tokens <= unpaid * max(call.tokens for call in calls)
    verdict.figure("model calls without a price", unpaid, f"of {len(calls)}, with {lost} attempts lost")
    verdict.check(world, client)
