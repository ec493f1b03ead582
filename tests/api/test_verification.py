"""The invariants as gauges of the API, and what retention means for somebody who asks."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from app.bootstrap.retention import build_retention
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, problem_of, upkeep_of
from tests.processes import running, start_store

QUICK = {"verify_interval_sec": 0.05, "sweep_sec": 0.1, "heartbeat_sec": 0.1}


async def gauges(api: Api) -> dict[str, float]:
    """The violations by check, and when they were counted."""
    text = (await api.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    wanted = ("invariant_violations", "invariant_check_timestamp_seconds")
    return {one.labels.get("check", "at"): one.value for one in samples if one.name in wanted}


async def test_a_broken_invariant_shows_in_the_gauges_and_goes_when_it_is_mended(start_api: StartApi) -> None:
    async with start_api(**QUICK) as api:
        task_id = await api.submit()
        jobs = api.core.database["tasks"]

        await jobs.update_one({"_id": task_id}, {"$set": {"lease": {"token": "t", "worker": "w"}}})
        await until_true(lambda: shows(api, waiting_with_lease=1))
        found = await gauges(api)
        await jobs.update_one({"_id": task_id}, {"$set": {"lease": None}})

        await until_true(lambda: shows(api, waiting_with_lease=0))
        assert [name for name, count in found.items() if count] == ["waiting_with_lease", "at"]
        assert len(found) > 10


async def until_true(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await look():  # noqa: ASYNC110 - nothing announces that the gauges have changed
            await asyncio.sleep(0.02)


async def shows(api: Api, **wanted: float) -> bool:
    return (await gauges(api)).items() >= wanted.items()


async def test_the_gauges_stay_while_the_store_is_down_and_tell_how_old_they_are(
    tmp_path: Path, start_api: StartApi
) -> None:
    own = start_store(tmp_path)
    with running(own.process):
        async with start_api(mongo_uri=own.mongo_uri, mongo_timeout_sec=0.5, **QUICK) as api:
            await until_true(lambda: shows(api, waiting_with_lease=0))

            own.process.kill()
            before = await gauges(api)
            again = await api.get("/metrics")

            assert again.status_code == 200
            assert (await gauges(api)).keys() == before.keys()
            assert before["at"] > 0


async def test_verification_can_be_turned_off(start_api: StartApi) -> None:
    async with start_api(verify_interval_sec=0) as api:
        assert await gauges(api) == {}


async def age(api: Api, task_id: str, by: timedelta) -> None:
    """As if everything about the task had happened so much earlier."""
    task = await api.core.repository.get("default", task_id)
    moved = {name: task[name] - by for name in ("created_at", "completed_at", "updated_at")}
    await api.core.tasks.update_one({"_id": task_id}, {"$set": moved})
    await api.core.documents("idempotency_keys").update_many(
        {"work_id": task_id}, {"$set": {"created_at": task["created_at"] - by, "expires_at": task["created_at"] - by}}
    )


async def test_an_old_task_is_deleted_by_the_upkeep_and_its_totals_stay(start_api: StartApi) -> None:
    async with start_api(task_retention_days=1) as api, upkeep_of(api.settings) as upkeep:
        old, young = await api.submit(), await api.submit()
        for task_id in (old, young):
            await api.hand().complete(task_id)
        await upkeep.run_once()
        totals = await all_time(api)

        await age(api, old, timedelta(days=2))
        async with upkeep_of(api.settings) as next_upkeep:
            await upkeep.close()
            await next_upkeep.run_once()

        problem_of(await api.get(f"/v1/tasks/{old}"), 404, "TASK_NOT_FOUND")
        assert (await api.read(young))["status"] == "completed"
        assert await all_time(api) == totals
        left = await api.core.documents("messages").find_many({}, limit=10, fields=("task_id",))
        assert {message["task_id"] for message in left} == {young}


async def all_time(api: Api) -> Json:
    found: Json = (await api.get("/v1/system/metrics")).json()["all_time"]
    return found


async def test_the_key_of_a_deleted_task_stands_for_new_work_and_nothing_breaks(start_api: StartApi) -> None:
    async with start_api(task_retention_days=1) as api:
        key = {"Idempotency-Key": "key-1"}
        first = await api.submit(headers=key)
        await api.hand().complete(first)
        await api.core.tasks.update_one({"_id": first}, {"$set": {"uncounted": False}})
        await age(api, first, timedelta(days=2))
        await build_retention(api.core).delete_old()

        again = await api.execute(headers=key)

        assert again.status_code == 202
        assert again.json()["task_id"] != first
        assert (await api.get(f"/v1/tasks/{first}")).status_code == 404
