"""Two providers that both have a bad day, the second standing in for the first, under a rate limit of all workers."""

import json

import pytest

from tests.api.test_bad_days import FAILURES
from tests.chaos.client import EXECUTE, ChaosClient, Json
from tests.chaos.conftest import StartWorld
from tests.chaos.provider import Provider
from tests.chaos.verdict import Verdict
from tests.chaos.world import World
from tests.processes import Server, start_simulator

MODEL = "gpt-4o-mini"
PER_MINUTE = 40
NUMBER = 10
TEXTS = (
    "Write a short article about the benefits of renewable energy, number {number}.",
    "Write a Python function that adds {number}.",
    "Summarise this text: Queues hold work. Workers take it. {number} leases tell who has it.",
)
# What the simulator says in the place of an answer.
GARBAGE = ("not what the schema asks for", "no code block", "[99]", "Simulated refusal")


def models(backup: Server) -> dict[str, str]:
    chain = f"{MODEL},backup:{MODEL}"
    return {
        "LLM_ENDPOINTS": json.dumps({"backup": {"base_url": f"{backup.http_url}/v1", "api_key": "simulated"}}),
        "LLM_PEER_MODEL": chain,
        "LLM_CONTENT_MODEL": chain,
        "LLM_CODE_MODEL": chain,
        "LLM_RATE_LIMITS": json.dumps({MODEL: {"requests_per_minute": PER_MINUTE}}),
        "LLM_TIMEOUT_SEC": "3",
        "TASK_MAX_ATTEMPTS": "5",
        "RETRY_MAXIMUM_SEC": "1",
    }


def start_backup(world: World) -> Server:
    folder = world.folder / "backup"
    folder.mkdir()
    server = start_simulator(folder)
    world.closing.callback(server.process.stop)
    return server


def run_all(client: ChaosClient) -> list[Json]:
    texts = [text.format(number=number) for number in range(NUMBER) for text in TEXTS]
    answers = [client.post(EXECUTE, {"task": text}) for text in texts]
    assert {one.status for one in answers} == {202}
    return [client.final(one.task_id, patience=90) for one in answers]


def most_in_a_minute(world: World) -> int:
    """A worker that Redis did not answer in time counts alone for a while: on a slow machine only."""
    alone = sum("llm_rate.redis_lost" in worker.process.read() for worker in world.workers)
    return PER_MINUTE * (1 + alone)


def outcome(task: Json) -> Json:
    return {name: task["result"][name] for name in ("raw_output", "citations", "files")}


@pytest.mark.chaos
def test_no_task_is_lost_and_no_garbage_is_a_result_when_both_providers_have_a_bad_day(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=0, simulator=True)
    backup = start_backup(world)
    for _ in range(3):
        world.start_worker(**models(backup))
    client, providers = world.client(), [Provider(world), Provider(world, backup)]
    for seed, provider in enumerate(providers):
        provider.play("bad-day", seed=seed)

    ended = run_all(client)
    moments = sorted(call.at for call in providers[0].calls())
    for provider in providers:
        provider.calm()
    calm = run_all(client)

    completed = [(task, expected) for task, expected in zip(ended, calm, strict=True) if task["status"] == "completed"]
    errors = {task["error"]["type"] for task in ended if task["error"]}
    assert {task["status"] for task in calm} == {"completed"}, [task["error"] for task in calm]
    assert len(completed) >= len(ended) / 2
    assert errors <= FAILURES["bad-day"]
    assert not [one for task in ended for one in GARBAGE if one in json.dumps(task["result"])]
    # Where a search failed, its note says so, and the text has other sources.
    assert all(outcome(task) == outcome(expected) for task, expected in completed if not task["result"]["notes"])
    in_a_minute = sum(at < moments[0] + 60 for at in moments)
    assert in_a_minute <= most_in_a_minute(world)
    assert providers[1].calls()
    verdict.figure("completed on a bad day", len(completed), f"of {len(ended)}")
    verdict.figure("calls in the first minute", in_a_minute, f"of {PER_MINUTE} allowed")
    verdict.check(world, client)
