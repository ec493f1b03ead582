"""Many tasks of one tenant beside few of another, limits of what runs at once, and priorities."""

import itertools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from pymongo import MongoClient

from app.jobs.models import OPEN
from tests.chaos.checker import Json, Kill, Record
from tests.chaos.client import EXECUTE, ChaosClient
from tests.chaos.conftest import StartWorld
from tests.chaos.history import Event
from tests.chaos.measurements import SMALL_TO_START
from tests.chaos.nemesis import Nemesis, kill_worker
from tests.chaos.verdict import Verdict
from tests.chaos.work import AGENT, Work, sleep, work
from tests.chaos.world import DATABASE, World
from tests.processes import until

BIG, SMALL = {"X-API-Key": "key-of-the-big-one"}, {"X-API-Key": "key-of-the-small-one"}
TENANTS = {"API_KEYS": "key-of-the-big-one:big:member,key-of-the-small-one:small:member"}
SLOTS = 10
FEW = 10
# A lease ends, a sweep frees the permit, and that may be tried ten seconds after a claim at the earliest.
QUICK_PERMITS = {"MONGO_TIMEOUT_SEC": "1"}


def submit_many(client: ChaosClient, wanted: Work, number: int) -> None:
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda _: client.submit(wanted), range(number)))


def all_ended(world: World, *, patience: float) -> None:
    """Looks into the store: asking the API for each of thousands would be a load of its own."""

    def is_over() -> bool:
        with MongoClient[dict[str, object]](world.store.mongo_uri) as store:
            tasks = store[DATABASE]["tasks"]
            return not any(tasks.find_one({"status": status.value}, {"_id": 1}) for status in OPEN)

    until(is_over, "all tasks ended", patience=patience)


def statuses(record: Record) -> set[str]:
    return {document["status"] for document in record.documents.values()}


def starts_of(events: Iterable[Event], task_ids: Sequence[str]) -> list[float]:
    wanted = set(task_ids)
    return sorted(event.at for event in events if event.kind == "start" and event.task_id in wanted)


@pytest.mark.parametrize(
    ("many", "seconds", "workers"),
    [
        pytest.param(150, 0.2, 1, marks=pytest.mark.chaos),
        pytest.param(10_000, 0.05, 2, marks=[pytest.mark.chaos, pytest.mark.timeout(900)]),
    ],
)
def test_the_few_tasks_of_one_tenant_do_not_wait_for_the_many_of_another(
    many: int, seconds: float, workers: int, start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=workers, settings={**TENANTS, "WORKER_SLOTS": str(SLOTS // workers)})
    big, small = world.client(headers=BIG), world.client(headers=SMALL)
    submit_many(big, work(sleep(seconds)), many)

    for _ in range(FEW):
        small.submit(work(sleep(seconds)))
    stored_at = [answer.at for answer in small.answers]
    started = [world.started(task_id) for task_id in small.accepted]
    big_starts = starts_of(world.events(), big.accepted)
    waiting = len(big.accepted) - len(big_starts)
    all_ended(world, patience=30 + many / 20)

    # Turns are taken one by one, and what already ran goes on.
    in_between = [at for at in big_starts if stored_at[-1] < at < max(event.at for event in started)]
    assert waiting > 2 * FEW + SLOTS
    assert len(in_between) <= 2 * FEW + SLOTS
    verdict.time(SMALL_TO_START, *(event.at - at for event, at in zip(started, stored_at, strict=True)))
    assert statuses(verdict.check(world, big, small, spare_executions=0)) == {"completed"}


def runs(record: Record) -> list[tuple[float, float, str]]:
    """When each attempt's handler began and ended, and of which task; a killed one ended with its worker."""
    ends = {event.token: event.at for event in record.events if event.kind in {"end", "cancelled", "failed"}}
    return [
        (event.at, ends.get(event.token) or _killed_at(record.kills, event), event.task_id)
        for event in record.events
        if event.kind == "start"
    ]


def _killed_at(kills: Sequence[Kill], start: Event) -> float:
    return next(kill.at for kill in kills if kill.pid == start.pid and kill.at >= start.at)


def most_at_once(found: Iterable[tuple[float, float, str]]) -> int:
    changes = sorted(change for began, ended, _ in found for change in ((began, 1), (ended, -1)))
    return max(itertools.accumulate(step for _, step in changes))


@pytest.mark.chaos
@pytest.mark.parametrize("seconds", [0, 20], ids=["all alive", "workers killed"])
def test_no_more_run_at_once_than_may_whichever_worker_has_them(
    seconds: int, start_world: StartWorld, verdict: Verdict
) -> None:
    limits = {"TENANT_CONCURRENCY": "small=3", "AGENT_CONCURRENCY": f"{AGENT}=7"}
    world = start_world(workers=3, settings={**TENANTS, **QUICK_PERMITS, **limits})
    big, small = world.client(headers=BIG), world.client(headers=SMALL)
    for client in (big, small):
        submit_many(client, work(sleep(0.1)), 150)

    if seconds:
        Nemesis(world, {"kill": kill_worker}).run(seconds=seconds)
    all_ended(world, patience=120)

    record = verdict.check(world, big, small)
    found = runs(record)
    if not seconds:
        took = max(ended for _, ended, _ in found) - min(began for began, _, _ in found)
        verdict.figure("throughput behind limits", len(found) / took, "tasks/s of at most 70")
    of_small = [run for run in found if run[2] in set(small.accepted)]
    assert statuses(record) == {"completed"}
    assert most_at_once(found) == 7
    assert most_at_once(of_small) == 3


@pytest.mark.chaos
def test_a_slow_agent_with_a_limit_leaves_the_slots_to_the_others(start_world: StartWorld, verdict: Verdict) -> None:
    world = start_world(settings={"WORKER_SLOTS": "10", "AGENT_CONCURRENCY": f"{AGENT}=4"})
    client = world.client()
    slow = [client.submit(work(sleep(1.5))) for _ in range(12)]
    until(lambda: len(world.events(kind="start")) == 4, "four of them run")

    quick = [client.post(EXECUTE, {"task": "ping", "agent": "EchoAgent"}).task_id for _ in range(20)]
    answered = [client.final(task_id) for task_id in quick]
    still_slow = [client.read(task_id)["status"] for task_id in slow]
    ended = client.all_final()

    assert {task["status"] for task in answered + ended} == {"completed"}
    assert "queued" in still_slow
    verdict.check(world, client, spare_executions=0)


STEP = timedelta(seconds=0.2)
URGENT, PATIENT = 9, 0
BACKLOG = 60
SLACK = timedelta(seconds=0.5)


@pytest.mark.chaos
def test_what_is_not_urgent_does_not_wait_for_ever_behind_what_is(start_world: StartWorld, verdict: Verdict) -> None:
    world = start_world(settings={"WORKER_SLOTS": "2", "PRIORITY_STEP_SEC": str(STEP.total_seconds())})
    client = world.client()
    submit_urgent(world, client, 2 * BACKLOG)
    patient = [client.submit(work(sleep(0.02)), priority=PATIENT) for _ in range(5)]

    while not all(world.events(task_id, kind="start") for task_id in patient):
        submit_urgent(world, client, 20)
    all_ended(world, patience=60)

    documents = verdict.check(world, client, spare_executions=0).documents
    urgent = [document for document in documents.values() if document["priority"] == URGENT]
    for document in (documents[task_id] for task_id in patient):
        overtook = [one for one in urgent if started_at(one) < started_at(document)]
        latest = max(one["queued_at"] for one in overtook)
        # A head start, and no more than that.
        assert document["queued_at"] < latest <= document["queued_at"] + (URGENT - PATIENT) * STEP + SLACK


def submit_urgent(world: World, client: ChaosClient, number: int) -> None:
    """Keeps more waiting than can be done, and not ever more."""
    for _ in range(number):
        client.submit(work(sleep(0.02)), priority=URGENT)
    started = len(client.accepted) - BACKLOG
    until(lambda: len(world.events(kind="start")) >= started, f"{started} started", patience=30)


def started_at(document: Json) -> datetime:
    found: datetime = next(entry["at"] for entry in document["history"] if entry["reason"] == "claimed")
    return found
