"""Metrics, health and the OpenAPI document."""

import json
import re
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from app.jobs.models import JobError
from app.jobs.outcomes import Failed
from app.jobs.transitions import Evidence
from app.jobs.workers import COLLECTION as WORKERS
from app.jobs.workers import WorkerIdentity, registration
from app.metrics.routes import SystemMetricsResponse
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, conforms, problem_of, upkeep_of
from tests.api.routes import calls_of


async def metrics_of(api: Api) -> Json:
    response = await api.get("/v1/system/metrics")
    assert response.status_code == 200, response.text
    body: Json = response.json()
    conforms(SystemMetricsResponse, body)
    return body


async def count_finished(api: Api) -> None:
    async with upkeep_of(api.settings) as upkeep:
        assert await upkeep.run_once()


async def test_the_metrics_of_a_new_system_are_zero_in_the_form_of_the_contract(api: Api) -> None:
    body = await metrics_of(api)

    assert (body["total_tasks"], body["pending_tasks"], body["workers"]) == (0, 0, 0)
    assert body["avg_latency_ms"] == body["p95_latency_ms"] == 0
    assert body["api_health"] == {"mongo": "up", "redis": "up"}
    assert len(body["last_5_days"]) == 5
    assert body["last_5_days"][0]["date"] == body["date"]
    assert body["all_time"] == {
        "total_tasks": 0,
        "tasks_per_agent": {},
        "avg_latency_ms": 0,
        "p95_latency_ms": 0,
        "first_task_at": None,
        "last_task_at": None,
    }
    assert body["api_version"] == "v1"


async def test_tasks_are_counted_by_agent_and_status(api: Api) -> None:
    hand, open_one = api.hand(), await api.submit()
    for _ in range(3):
        await hand.complete(await api.submit())
    await hand.fail(await api.submit())
    await api.post(f"/v1/tasks/{await api.submit()}/cancel")
    await count_finished(api)

    body = await metrics_of(api)

    assert body["total_tasks"] == 6
    assert body["pending_tasks"] == 1
    assert body["tasks_per_agent"] == {"ContentAgent": 3}
    statuses = {name: count for name, count in body["tasks_per_status"].items() if count}
    assert statuses == {"completed": 3, "failed": 1, "cancelled": 1, "queued": 1}
    assert body["p95_latency_ms"] > 0
    assert body["last_5_days"][0]["total_tasks"] == body["all_time"]["total_tasks"] == 6
    assert (await api.read(open_one))["status"] == "queued"


async def test_counting_twice_changes_nothing(api: Api) -> None:
    await api.hand().complete(await api.submit())
    await count_finished(api)
    once = await metrics_of(api)

    await count_finished(api)

    assert (await metrics_of(api))["all_time"] == once["all_time"]


async def test_a_retried_task_is_counted_once(api: Api) -> None:
    task_id = await api.submit()
    await api.hand().fail(task_id)
    await count_finished(api)
    await api.post(f"/v1/tasks/{task_id}/retry")
    await count_finished(api)
    await api.hand().complete(task_id)
    await count_finished(api)

    body = await metrics_of(api)

    assert body["total_tasks"] == 1
    assert {name: count for name, count in body["tasks_per_status"].items() if count} == {"completed": 1}


async def test_a_retried_task_counts_for_the_agent_that_did_it_last(api: Api) -> None:
    task_id = await api.submit()
    job = await api.hand().claim(task_id)
    await api.hand().settle(job, Failed(JobError("LLM_ERROR", "no")), Evidence(label="CodeAgent"))
    await count_finished(api)
    await api.post(f"/v1/tasks/{task_id}/retry")
    await api.hand().complete(task_id)
    await count_finished(api)

    body = await metrics_of(api)

    assert body["tasks_per_agent"] == {"ContentAgent": 1}


async def test_a_live_worker_is_counted_and_an_expired_one_is_not(api: Api) -> None:
    now, workers = api.core.clock(), api.core.documents(WORKERS)
    for name, age in (("alive", timedelta()), ("dead", timedelta(minutes=1))):
        identity = WorkerIdentity(name, "host", 1, ("agent_tasks",), 100, "0")
        await workers.insert(registration(identity, now=now - age, lease=timedelta(seconds=15)))

    body = await metrics_of(api)

    assert body["workers"] == 1
    assert [worker["worker_id"] for worker in body["worker_details"]] == ["alive"]


async def test_the_history_is_as_long_as_configured(start_api: StartApi) -> None:
    async with start_api(metrics_history_days=2) as api:
        assert len((await metrics_of(api))["last_5_days"]) == 2


async def test_health_is_one_line_of_text(api: Api) -> None:
    response = await api.get("/health")

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text == "ok | mongo=up | redis=up | env=local"


async def test_the_probes_answer_json(api: Api) -> None:
    live, ready = await api.get("/health/live"), await api.get("/health/ready")

    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()["checks"]) == (200, {"mongo": "up", "redis": "up"})


async def test_prometheus_text_is_well_formed_and_counts_requests(api: Api) -> None:
    await api.submit()

    response = await api.get("/metrics")

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    samples = [sample for family in families.values() for sample in family.samples]
    assert any(sample.labels.get("endpoint") == "/v1/agent/execute" and sample.value == 1 for sample in samples)
    assert any(sample.name.endswith("jobs_waiting") and sample.value == 1 for sample in samples), list(families)


async def test_no_label_of_prometheus_holds_an_id_or_a_made_up_path(api: Api) -> None:
    task_id = await api.submit()
    for path in (f"/v1/tasks/{task_id}", f"/v1/tasks/{task_id}/why", "/made-up-path", "/v1/tasks/made-up-id"):
        await api.get(path)

    text = (await api.get("/metrics")).text

    assert task_id not in text
    assert "made-up" not in text


async def test_prometheus_can_be_turned_off(start_api: StartApi) -> None:
    async with start_api(prometheus_enabled=False) as api:
        problem_of(await api.get("/metrics"), 404, "NOT_FOUND")


async def test_every_operation_is_named_and_lists_its_errors(api: Api) -> None:
    document = (await api.get("/openapi.json")).json()

    operations = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", name) for name in ids)
    for (_, path), operation in operations.items():
        if path.startswith("/v1/"):
            assert {"401", "429", "500"} <= operation["responses"].keys(), path
            assert operation.get("summary"), path
            assert operation.get("description"), path


async def test_every_reference_in_the_openapi_document_has_a_target(api: Api) -> None:
    text = (await api.get("/openapi.json")).text

    schemas = json.loads(text)["components"]["schemas"]
    missing = {name for name in re.findall(r'"#/components/schemas/([^"]+)"', text) if name not in schemas}
    assert missing == set()


async def test_routes_that_answer_404_and_409_say_so(api: Api) -> None:
    paths = (await api.get("/openapi.json")).json()["paths"]

    for call in calls_of(api.app):
        # What is not there is made by it.
        makes = (call.method, call.template) == ("PUT", "/v1/artifacts/{sha256}")
        if call.parameters and not makes:
            assert "404" in paths[call.template][call.method.lower()]["responses"], call
    assert "409" in paths["/v1/tasks/{task_id}/cancel"]["post"]["responses"]
    assert "503" in paths["/v1/agent/execute"]["post"]["responses"]
