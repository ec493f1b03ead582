"""What a task did outside: seen over HTTP, and resolved by a person."""

import asyncio
from typing import Any

import pytest

from app.effects.errors import EffectUncertain
from app.effects.performer import TaskEffects
from app.effects.routes import EffectListResponse, EffectResponse
from app.effects.service import MOST_LISTED
from app.jobs.models import Job, JobError
from app.jobs.outcomes import Failed
from app.jobs.transitions import Evidence
from tests.api.conftest import StartApi
from tests.api.harness import NOBODY, Api, Json, conforms, fields_of, problem_of
from tests.effect_builders import MAIL, Receiver, an_attempt

UNKNOWN = "9d3c6f0e-7b1a-8c42-a5d1-3f0e6a2b9c11"


def attempt_at(api: Api, task_id: str, *, fence: int = 1, tenant_id: str = "default") -> TaskEffects:
    return an_attempt(api.core.effects, fence=fence, task_id=task_id, tenant_id=tenant_id)


async def effects_of(api: Api, task_id: str, **options: Any) -> list[Json]:
    response = await api.get(f"/v1/tasks/{task_id}/effects", **options)
    assert response.status_code == 200, response.text
    conforms(EffectListResponse, response.json())
    items: list[Json] = response.json()["items"]
    return items


async def an_uncertain_effect(api: Api) -> tuple[str, str]:
    """A failed task and the key of what nobody knows about it."""
    task_id = await api.submit()
    receiver = Receiver(deduplicates=False)
    job = await api.hand().claim(task_id)
    await dies_while_firing(api, job, receiver)
    await api.core.store.settle(job, *failed())
    (effect,) = await effects_of(api, task_id)
    return task_id, effect["key"]


async def dies_while_firing(api: Api, job: Job, receiver: Receiver) -> None:
    work = asyncio.create_task(attempt_at(api, job.id).perform("mail", MAIL, receiver.take_and_hang))
    await receiver.was_called.wait()
    work.cancel()
    await asyncio.wait({work})


def failed() -> Any:
    return Failed(JobError(EffectUncertain.code, "who knows")), Evidence()


async def resolve(api: Api, task_id: str, key: str, happened: Any, **options: Any) -> Any:
    return await api.post(f"/v1/tasks/{task_id}/effects/{key}/resolve", {"happened": happened}, **options)


async def test_a_task_without_effects_has_none(api: Api) -> None:
    assert await effects_of(api, await api.submit()) == []


async def test_every_effect_is_listed_with_what_became_of_it(api: Api) -> None:
    task_id = await api.submit()
    effects, receiver = attempt_at(api, task_id), Receiver()
    await effects.perform("mail", MAIL, receiver.take)
    await effects.perform("page", {"who": "on-call"}, receiver.take, step="first")

    mail, page = await effects_of(api, task_id)

    assert mail == mail | {
        "key": receiver.keys[0],
        "name": "mail",
        "step": None,
        "status": "done",
        "is_uncertain": False,
        "attempts": 1,
        "attempt": 1,
        "result": {"message_id": "m-1"},
        "error": None,
        "resolved_by": None,
    }
    assert (page["name"], page["step"], page["key"]) == ("page", "first", receiver.keys[1])
    assert mail["started_at"] <= mail["finished_at"]


async def test_an_effect_under_way_is_not_uncertain_until_its_attempt_is_over(api: Api) -> None:
    task_id = await api.submit()
    job = await api.hand().claim(task_id)
    await dies_while_firing(api, job, Receiver())
    (under_way,) = await effects_of(api, task_id)
    refused = await resolve(api, task_id, under_way["key"], True)

    await api.core.store.settle(job, *failed())

    (over,) = await effects_of(api, task_id)
    assert (under_way["status"], under_way["is_uncertain"]) == ("started", False)
    assert (over["status"], over["is_uncertain"]) == ("started", True)
    problem_of(refused, 409, "EFFECT_NOT_UNCERTAIN")


@pytest.mark.parametrize(("happened", "status"), [(True, "done"), (False, "failed")])
async def test_a_person_says_what_happened_and_may_say_it_again(api: Api, happened: bool, status: str) -> None:
    task_id, key = await an_uncertain_effect(api)

    first, second = [await resolve(api, task_id, key, happened) for _ in range(2)]

    assert (first.status_code, second.status_code) == (200, 200)
    conforms(EffectResponse, first.json())
    assert (first.json()["status"], first.json()["is_uncertain"]) == (status, False)
    assert first.json()["resolved_by"]
    assert second.json() == first.json()


async def test_what_was_said_cannot_be_turned_round(api: Api) -> None:
    task_id, key = await an_uncertain_effect(api)
    await resolve(api, task_id, key, True)

    problem_of(await resolve(api, task_id, key, False), 409, "EFFECT_NOT_UNCERTAIN")


async def test_of_people_who_say_different_things_at_once_one_is_heard(api: Api) -> None:
    task_id, key = await an_uncertain_effect(api)

    answers = await asyncio.gather(*(resolve(api, task_id, key, number % 2 == 0) for number in range(10)))

    heard = {answer.json()["status"] for answer in answers if answer.status_code == 200}
    assert len(heard) == 1
    assert {answer.status_code for answer in answers} == {200, 409}


async def test_what_is_certain_needs_nobody(api: Api) -> None:
    task_id = await api.submit()
    performed = await attempt_at(api, task_id).perform("mail", MAIL, Receiver().take)

    problem_of(await resolve(api, task_id, performed.key, True), 409, "EFFECT_NOT_UNCERTAIN")


@pytest.mark.parametrize("body", [{}, {"happened": "yes"}, {"happened": 1}, {"happened": None}])
async def test_an_unclear_statement_is_refused(api: Api, body: Json) -> None:
    task_id, key = await an_uncertain_effect(api)

    response = await api.post(f"/v1/tasks/{task_id}/effects/{key}/resolve", body)

    assert fields_of(problem_of(response, 422, "VALIDATION_ERROR")) == ["happened"]


async def test_an_unknown_key_is_a_404_that_does_not_repeat_it_at_length(api: Api) -> None:
    task_id = await api.submit()

    for key in (UNKNOWN, "$ne", "x" * 2000):
        response = await resolve(api, task_id, key, True)
        problem_of(response, 404, "EFFECT_NOT_FOUND")
        assert len(response.text) < 3 * len(key) + 1000


async def test_a_list_that_is_cut_off_says_so(api: Api) -> None:
    task_id = await api.submit()
    await attempt_at(api, task_id).perform("mail", MAIL, Receiver().take)
    effects = api.core.documents("effects")
    (first,) = await effects.find_many({}, limit=2)
    await effects.insert_missing([{**first, "_id": f"key-{number}"} for number in range(MOST_LISTED)])

    page = (await api.get(f"/v1/tasks/{task_id}/effects")).json()

    assert (len(page["items"]), page["has_more"]) == (MOST_LISTED, True)


@pytest.mark.parametrize("task_id", [NOBODY, "x"])
async def test_the_effects_of_no_task_are_a_404(api: Api, task_id: str) -> None:
    problem_of(await api.get(f"/v1/tasks/{task_id}/effects"), 404, "TASK_NOT_FOUND")
    problem_of(await resolve(api, task_id, UNKNOWN, True), 404, "TASK_NOT_FOUND")


async def test_an_effect_cannot_be_resolved_through_another_task(api: Api) -> None:
    _, key = await an_uncertain_effect(api)

    problem_of(await resolve(api, await api.submit(), key, True), 404, "EFFECT_NOT_FOUND")


async def test_another_tenant_sees_and_says_nothing(start_api: StartApi) -> None:
    red, blue = {"X-API-Key": "key-of-red"}, {"X-API-Key": "key-of-blue"}
    async with start_api(api_keys="key-of-red:red:member,key-of-blue:blue:member") as api:
        task_id = await api.submit(headers=red)
        performed = await attempt_at(api, task_id, tenant_id="red").perform("mail", MAIL, Receiver().take)

        problem_of(await api.get(f"/v1/tasks/{task_id}/effects", headers=blue), 404, "TASK_NOT_FOUND")
        problem_of(await resolve(api, task_id, performed.key, True, headers=blue), 404, "TASK_NOT_FOUND")
        assert len(await effects_of(api, task_id, headers=red)) == 1
