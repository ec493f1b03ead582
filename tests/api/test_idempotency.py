import asyncio

from tests.api.conftest import StartApi
from tests.api.harness import WRITING, Api, problem_of

ONCE = {"Idempotency-Key": "order 66"}


async def test_the_same_request_again_gives_the_first_answer(api: Api) -> None:
    first = await api.execute(session_id="demo", headers=ONCE)

    second = await api.execute(session_id="demo", headers=ONCE)

    assert second.status_code == 202
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"


async def test_the_first_answer_comes_again_after_the_task_has_moved_on(api: Api) -> None:
    first = await api.execute(headers=ONCE)
    await api.hand().complete(first.json()["task_id"])

    second = await api.execute(headers=ONCE)

    assert second.json() == first.json()


async def test_neither_spaces_nor_the_order_of_members_make_another_request(api: Api) -> None:
    headers = {**ONCE, "Content-Type": "application/json"}
    bodies = [b'{"task":"Write","priority":5}', b'{ "priority": 5,\n "task": "Write" }']

    answers = [await api.client.post("/v1/agent/execute", content=body, headers=headers) for body in bodies]

    assert answers[0].json()["task_id"] == answers[1].json()["task_id"]


async def test_the_same_key_with_another_body_is_refused(api: Api) -> None:
    first = await api.execute(headers=ONCE)

    for other in (
        {"task": "Something else"},
        {"task": WRITING, "priority": 9},
        {"task": WRITING, "metadata": {"a": 1}},
    ):
        response = await api.post("/v1/agent/execute", other, headers=ONCE)
        problem_of(response, 422, "IDEMPOTENCY_KEY_REUSED")

    assert (await api.execute(headers=ONCE)).json() == first.json()
    assert (await api.get("/v1/tasks")).json()["meta"]["total_items"] == 1


async def test_a_key_whose_first_request_was_refused_is_free(api: Api) -> None:
    refused = await api.execute("", headers=ONCE)

    accepted = await api.execute(headers=ONCE)

    assert (refused.status_code, accepted.status_code) == (422, 202)


async def test_fifty_requests_at_once_with_one_key_make_one_task(api: Api) -> None:
    answers = await asyncio.gather(*(api.execute(headers=ONCE) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert (await api.get("/v1/tasks")).json()["meta"]["total_items"] == 1


async def test_fifty_requests_at_once_with_fifty_keys_make_fifty_tasks(api: Api) -> None:
    answers = await asyncio.gather(*(api.execute(headers={"Idempotency-Key": f"key-{n}"}) for n in range(50)))

    assert len({answer.json()["task_id"] for answer in answers}) == 50


async def test_the_same_key_of_another_tenant_is_another_key(start_api: StartApi) -> None:
    async with start_api(api_keys="key-of-red:red:member,key-of-blue:blue:member") as api:
        red = await api.execute(headers={**ONCE, "X-API-Key": "key-of-red"})
        blue = await api.execute("Something else", headers={**ONCE, "X-API-Key": "key-of-blue"})

    assert (red.status_code, blue.status_code) == (202, 202)
    assert red.json()["task_id"] != blue.json()["task_id"]


async def test_without_a_key_every_request_is_another_task(api: Api) -> None:
    assert await api.submit() != await api.submit()


async def test_a_request_that_died_between_key_and_task_is_made_whole_by_its_repetition(api: Api) -> None:
    # given a key that was reserved for a task which was never stored
    first = await api.execute(headers=ONCE)
    await api.core.documents("tasks").delete_one({"_id": first.json()["task_id"]})

    second = await api.execute(headers=ONCE)

    assert second.json()["task_id"] == first.json()["task_id"]
    assert (await api.read(second.json()["task_id"]))["status"] == "queued"
