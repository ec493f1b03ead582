"""The model's provider hangs, drips, refuses, breaks and talks nonsense; then it is well again."""

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from pymongo import MongoClient

from app.jobs.store import CLOCK_TOLERANCE
from tests.chaos.checker import Record
from tests.chaos.client import EXECUTE, ChaosClient, Json, Watcher
from tests.chaos.conftest import StartWorld
from tests.chaos.measurements import PROVIDER_TO_ANSWER
from tests.chaos.provider import Provider, largest_bucket
from tests.chaos.verdict import Verdict
from tests.chaos.world import DATABASE, World
from tests.processes import until
from tests.scenarios.stack import reasons

AGENT = "CodeAgent"
ATTEMPTS = 3
RETRY_AFTER = 1.0
SETTINGS = {
    "LLM_TIMEOUT_SEC": "1",
    "TASK_MAX_ATTEMPTS": str(ATTEMPTS),
    "RETRY_INITIAL_SEC": "1",
    "CIRCUIT_OPEN_SEC": "1",
    "CIRCUIT_OPEN_MAX_SEC": "2",
}
OUTAGES: dict[str, Json] = {
    "hanging": {"hang": True},
    "dripping": {"drip": True},
    "broken": {"error": 500},
    "garbled": {"malformed": True},
}


def submit(client: ChaosClient, number: int) -> str:
    """Each task is another conversation."""
    answer = client.post(EXECUTE, {"task": f"Write a Python function that adds {number}.", "agent": AGENT})
    assert answer.status == 202, answer
    return answer.task_id


def submit_at_once(client: ChaosClient, number: int) -> list[str]:
    with ThreadPoolExecutor(8) as clients:
        return list(clients.map(lambda one: submit(client, one), range(number)))


def planned_starts(world: World, task_ids: Sequence[str], status: str) -> list[float]:
    """When the last attempts were or will be due, in Unix time."""
    documents = (one for one in world.documents(*task_ids).values() if one["status"] == status)
    return [one["not_before"].timestamp() for one in documents]


def check_attempts(record: Record, provider: Provider, *, most: int = ATTEMPTS) -> None:
    """No task has more charged attempts than it may, and none was asked for more often than it was charged."""
    charged = []
    for document in record.documents.values():
        given = Counter(reasons(document))
        charged.append(given["claimed"] - given["circuit_open"] - given["rate_limited"])
        assert document["attempt"] == charged[-1] <= most
    asked = Counter(call.conversation for call in provider.calls())
    assert max(asked.values()) <= most
    assert sum(asked.values()) <= sum(charged)


def check_never_early(record: Record) -> None:
    lateness = [float(event.detail) for event in record.events if event.kind == "claimed"]
    assert min(lateness) >= -CLOCK_TOLERANCE.total_seconds()


def shortest_pause(provider: Provider) -> float:
    """Seconds from a refusal to the next call of the same conversation."""
    moments: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for call in sorted(provider.calls(), key=lambda one: one.at):
        moments[call.conversation].append((call.at, call.status))
    return min(
        later - earlier
        for calls in moments.values()
        for (earlier, status), (later, _) in itertools.pairwise(calls)
        if status == 429
    )


@pytest.mark.chaos
def test_a_rate_limit_is_waited_for_and_what_waited_does_not_return_as_a_burst(
    start_world: StartWorld, verdict: Verdict
) -> None:
    # More attempts than usual: on a slow machine some are refused again before all were refused once.
    world = start_world(simulator=True, settings={**SETTINGS, "LLM_TIMEOUT_SEC": "20", "TASK_MAX_ATTEMPTS": "9"})
    client, provider, number = world.client(), Provider(world), 60
    provider.order(error=429, retry_after=RETRY_AFTER)

    # They are all refused at the same moment.
    assert world.simulator is not None
    world.freeze(world.simulator)
    task_ids = submit_at_once(client, number)
    until(lambda: len(world.events(kind="claimed")) == number, "all of them call")
    world.thaw(world.simulator)
    until(lambda: len({call.conversation for call in provider.calls()}) == number, "each task was refused once")
    provider.heal()
    ended = client.all_final()

    assert {task["status"] for task in ended} == {"completed"}
    assert shortest_pause(provider) >= RETRY_AFTER
    assert largest_bucket(planned_starts(world, task_ids, "completed")) <= number / 5
    answered = [call.at for call in provider.calls() if call.status == 200]
    verdict.figure("largest 50 ms of answers", largest_bucket(answered), f"of {number}")
    record = verdict.check(world, client, spare_executions=0)
    check_attempts(record, provider, most=9)
    check_never_early(record)


@pytest.mark.chaos
@pytest.mark.parametrize("outage", OUTAGES)
def test_a_provider_that_is_down_is_left_alone_and_costs_no_attempts(
    outage: str, start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=2, simulator=True, settings=SETTINGS)
    client, provider, number = world.client(), Provider(world), 100
    provider.order(**OUTAGES[outage])

    task_ids = submit_at_once(client, number)
    until(lambda: openings(world) >= 3, "the circuit was opened for the third time", patience=30)
    waiting = until(lambda: starts_if_most_wait(world, task_ids), "nearly all of them wait")
    provider.heal()
    healed_at = time.time()
    ended = client.all_final()

    completed = sum(task["status"] == "completed" for task in ended)
    answered = sorted(call.at for call in provider.calls() if call.at > healed_at)
    # What was charged a third time was the probe too often; that can happen to few.
    assert completed >= 0.9 * number
    assert {task["error"]["type"] for task in ended if task["error"]} <= {"TIMEOUT", "LLM_ERROR"}
    assert largest_bucket(waiting) <= number / 4
    verdict.time(PROVIDER_TO_ANSWER, answered[0] - healed_at)
    verdict.figure("largest 50 ms of answers", largest_bucket(answered), f"of {number}")
    record = verdict.check(world, client, spare_executions=0)
    check_attempts(record, provider)
    check_never_early(record)
    assert any("circuit_open" in reasons(document) for document in record.documents.values())


def openings(world: World) -> int:
    """How often the circuit was opened since it was last closed."""
    with MongoClient[Json](world.store.mongo_uri) as store:
        return max((one["openings"] for one in store[DATABASE]["circuits"].find()), default=0)


def starts_if_most_wait(world: World, task_ids: Sequence[str]) -> list[float] | None:
    starts = planned_starts(world, task_ids, "queued")
    return starts if len(starts) >= 0.9 * len(task_ids) else None


@contextmanager
def steady_load(client: ChaosClient, *, pause: float) -> Iterator[None]:
    over = threading.Event()

    def submit_for_ever() -> None:
        for number in itertools.count():
            if over.wait(pause):
                return
            submit(client, number)

    thread = threading.Thread(target=submit_for_ever, name="chaos-load")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


@pytest.mark.chaos
def test_a_provider_that_fails_in_every_way_in_turn_loses_no_task(start_world: StartWorld, verdict: Verdict) -> None:
    world = start_world(workers=2, simulator=True, settings=SETTINGS)
    client, provider = world.client(), Provider(world)
    faults: list[Json] = [*OUTAGES.values(), {"error": 429, "retry_after": RETRY_AFTER}, {"nochoices": True}]

    with Watcher(client), steady_load(client, pause=0.1):
        for fault in faults:
            provider.order(**fault)
            accepted = len(client.accepted)
            until(lambda n=accepted: len(client.accepted) >= n + 25, "25 tasks more")  # type: ignore[misc]
        provider.heal()
    ended = client.all_final(patience=60)

    assert {task["error"]["type"] for task in ended if task["error"]} <= {"TIMEOUT", "LLM_ERROR", "LLM_RATE_LIMITED"}
    assert submit_and_wait(client)["status"] == "completed"
    record = verdict.check(world, client, spare_executions=0)
    check_attempts(record, provider)
    check_never_early(record)


def submit_and_wait(client: ChaosClient) -> Json:
    return client.final(submit(client, -1))
