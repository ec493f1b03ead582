"""Past the configured backlog new work is refused, with the time to come back; what was accepted stays accepted."""

from tests.api.conftest import StartApi
from tests.api.harness import WRITING, problem_of


async def test_past_the_backlog_a_new_task_is_refused_with_a_time_to_come_back(start_api: StartApi) -> None:
    async with start_api(max_backlog=2) as api:
        accepted = [await api.submit() for _ in range(2)]

        refused = await api.execute(WRITING)

        problem_of(refused, 503, "BACKLOG_FULL")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await api.get("/v1/tasks")).json()["meta"]["total_items"] == len(accepted)


async def test_a_tenant_past_its_own_backlog_is_refused_alone(start_api: StartApi) -> None:
    keys = "acme-key-1:acme,globex-key-1:globex"
    async with start_api(max_tenant_backlog=1, api_keys=keys) as api:
        await api.submit(headers={"X-API-Key": "acme-key-1"})

        refused = await api.execute(WRITING, headers={"X-API-Key": "acme-key-1"})
        other = await api.execute(WRITING, headers={"X-API-Key": "globex-key-1"})

        problem_of(refused, 429, "TENANT_BACKLOG_FULL")
        assert int(refused.headers["Retry-After"]) >= 1
        assert other.status_code == 202


async def test_a_repeated_request_is_answered_although_the_backlog_is_full(start_api: StartApi) -> None:
    async with start_api(max_backlog=1) as api:
        task_id = await api.submit(headers={"Idempotency-Key": "one"})

        again = await api.execute(WRITING, headers={"Idempotency-Key": "one"})

        assert again.status_code == 202
        assert again.json()["task_id"] == task_id


async def test_a_request_that_was_refused_can_be_repeated_with_its_key(start_api: StartApi) -> None:
    async with start_api(max_backlog=1) as api:
        blocking = await api.submit()
        problem_of(await api.execute(WRITING, headers={"Idempotency-Key": "two"}), 503, "BACKLOG_FULL")
        await api.post(f"/v1/tasks/{blocking}/cancel")
        api.app.state.task_api.tasks._admission._all.counted_at = float("-inf")

        again = await api.execute(WRITING, headers={"Idempotency-Key": "two"})

        assert again.status_code == 202
