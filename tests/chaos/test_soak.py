"""Tens of thousands of tasks at full speed: nothing grows that should not."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from app.clock import utc_now
from app.jobs.models import OPEN, Status
from tests.bench.client import NO_OP, submit
from tests.chaos.client import Json
from tests.chaos.conftest import StartWorld
from tests.chaos.sampling import MEGABYTE, Sample, Sampler, growth, held_by
from tests.chaos.verdict import Verdict
from tests.chaos.world import DATABASE, USUAL, World
from tests.processes import until

WAVES = 5
WAVE = 10_000
BATCH = 1000
CONNECTIONS = 8
MOST_WAITING = 2000
# What is left of a wave when the next may begin.
LEFT = 1000
KEPT_DAYS = 1
SETTINGS = {**USUAL, "TASK_RETENTION_DAYS": str(KEPT_DAYS), "SWEEP_SEC": "0.5"}
# The first wave is warm-up: caches, pools, the first compactions of the log. By wave; a task that stayed would cost
# the store 6 kB, and ten thousand of them 60 MB.
MOST_GROWTH = {
    "API MB": 2.0,
    "worker MB": 3.0,
    "store MB": 10.0,
    "API descriptors": 3.0,
    "worker descriptors": 3.0,
    "store descriptors": 3.0,
}
# The log is rewritten when it is 16 MB more than twice what was alive the last time.
MOST_LOG_MB = 120.0


@contextmanager
def connected(world: World) -> Iterator[Collection[Json]]:
    with MongoClient[Json](world.store.mongo_uri, tz_aware=True) as client:
        yield client[DATABASE]["tasks"]


def look_at(world: World, tasks: Collection[Json], submitted: list[int]) -> Sample:
    values = {
        **held_by("API", world.apis[0].pid),
        **held_by("worker", world.workers[0].pid),
        **held_by("store", world.store.process.pid),
        "log MB": log_of(world).stat().st_size / MEGABYTE,
        "stored tasks": float(tasks.estimated_document_count()),
    }
    return Sample(sum(submitted), values)


def log_of(world: World) -> Path:
    return world.folder / "store" / "store.log"


@contextmanager
def ageing(tasks: Collection[Json]) -> Iterator[None]:
    """What has ended looks as if that were long ago: retention is counted in days, and days we do not have."""
    over = threading.Event()

    def age() -> None:
        while not over.wait(1.0):
            now = utc_now()
            young = {"status": "completed", "completed_at": {"$gt": now - timedelta(days=KEPT_DAYS)}}
            tasks.update_many(young, {"$set": {"completed_at": now - timedelta(days=KEPT_DAYS + 1)}})

    thread = threading.Thread(target=age, name="chaos-ageing")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def run_wave(world: World, tasks: Collection[Json], submitted: list[int]) -> float:
    """Seconds from the first request to the last end; then retention takes the tasks away."""
    port, began = int(world.apis[0].environment["API_PORT"]), time.monotonic()
    for _ in range(WAVE // BATCH):
        submitted.append(len(submit(port, NO_OP, count=BATCH, connections=CONNECTIONS).latencies))
        until(lambda: waiting(tasks) < MOST_WAITING, "the worker keeps up", patience=60)
    still_open = {"status": {"$in": [status.value for status in OPEN]}}
    until(lambda: not tasks.find_one(still_open, {"_id": 1}), "all ended", patience=60)
    took = time.monotonic() - began
    until(lambda: tasks.estimated_document_count() <= LEFT, "retention deletes the wave", patience=180)
    return took


def waiting(tasks: Collection[Json]) -> int:
    return tasks.count_documents({"status": Status.QUEUED.value}, limit=MOST_WAITING)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_memory_descriptors_and_disk_stay_level_over_fifty_thousand_tasks(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(settings=SETTINGS)
    submitted: list[int] = []
    with connected(world) as tasks, ageing(tasks), Sampler(lambda: look_at(world, tasks, submitted)) as sampler:
        took = [run_wave(world, tasks, submitted) for _ in range(WAVES)]

    warm = peaks(sampler.samples)[1:]
    verdict.figure("throughput", WAVES * WAVE / sum(took), "tasks/s")
    for name, most in MOST_GROWTH.items():
        verdict.figure(f"growth of {name}", growth(warm, name, per=WAVE), f"per {WAVE} tasks")
        verdict.figure(f"most {name}", warm[-1].values[name], f"of at most {most} more each wave")
    verdict.figure("most log MB", max(one.values["log MB"] for one in warm), f"of {MOST_LOG_MB}")
    too_much = [name for name, most in MOST_GROWTH.items() if growth(warm, name, per=WAVE) > most]
    assert not too_much
    assert max(one.values["log MB"] for one in warm) <= MOST_LOG_MB
    assert "store.compacted" in world.store.process.read()


def peaks(samples: list[Sample]) -> list[Sample]:
    """The highest values of each wave."""
    found = []
    for wave in range(WAVES):
        within = [one.values for one in samples if wave * WAVE < one.progress <= (wave + 1) * WAVE]
        found.append(Sample((wave + 1) * WAVE, {name: max(one[name] for one in within) for name in within[0]}))
    return found
