"""Old tasks go with all that belongs to them, also when the worker that deletes them dies half-way."""

from datetime import timedelta
from pathlib import Path

import pytest
from pymongo import MongoClient

from app.clock import utc_now
from tests.chaos.client import EXECUTE, ChaosClient, Json
from tests.chaos.conftest import StartWorld
from tests.chaos.failpoints import VARIABLE
from tests.chaos.verdict import Verdict
from tests.chaos.world import DATABASE, World
from tests.processes import until

CODE = {"task": "Write a Python function that adds two numbers.", "session_id": "old"}
TABLE = {
    "task": "Group the sales",
    "agent": "DataAnalyzerAgent",
    "input": {
        "operation": "group",
        "csv": "region,amount\nnorth,10\nsouth,5\n",
        "by": ["region"],
        "aggregations": [{"function": "sum", "column": "amount"}],
        "charts": [{"kind": "bar", "x": "region", "y": "amount"}],
    },
}
BELONGINGS = ("tasks", "messages", "checkpoints")


def submit(client: ChaosClient, body: Json) -> str:
    answer = client.post(EXECUTE, body)
    assert answer.status == 202, answer
    return answer.task_id


def blobs(world: World) -> list[Path]:
    return [path for path in Path(world.settings["ARTIFACT_STORE"]).rglob("*") if path.is_file()]


def kept(world: World) -> dict[str, int]:
    with MongoClient[Json](world.store.mongo_uri) as store:
        return {name: store[DATABASE][name].count_documents({}) for name in BELONGINGS}


def make_old(world: World) -> None:
    with MongoClient[Json](world.store.mongo_uri) as store:
        ended = {"$set": {"completed_at": utc_now() - timedelta(days=2)}}
        store[DATABASE]["tasks"].update_many({"status": "completed"}, ended)


@pytest.mark.chaos
@pytest.mark.parametrize("place", ["delete_blob.before:kill", "delete_blob.after:kill@3", "delete_blob.after:kill@5"])
def test_nothing_of_an_old_task_is_left_when_the_upkeep_dies_half_way(
    place: str, start_world: StartWorld, verdict: Verdict, tmp_path: Path
) -> None:
    settings = {"TASK_RETENTION_DAYS": "1", "ARTIFACT_STORE": str(tmp_path / "artifacts")}
    world = start_world(simulator=True, settings=settings)
    client, worker = world.client(), world.workers[0]
    for number in range(3):
        client.final(submit(client, {**CODE, "task": f"{CODE['task']} Number {number}."}))
    client.final(submit(client, TABLE))
    # This one dies before it can delete the state of its agent.
    worker.kill()
    worker.start(**{VARIABLE: "aftermath.before:kill"})
    client.final(submit(client, CODE))
    until(lambda: not worker.is_alive, "the worker dies behind its last write")
    assert min(kept(world).values()) > 0, kept(world)
    assert blobs(world)

    make_old(world)
    worker.start(**{VARIABLE: place})
    until(lambda: not worker.is_alive, "the upkeep dies half-way")
    assert kept(world)["tasks"] > 0
    worker.start()

    until(lambda: not any(kept(world).values()), "all of it is deleted", patience=60)
    assert blobs(world) == []
    verdict.figure("blobs left", len(blobs(world)), "of deleted tasks")
