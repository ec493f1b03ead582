"""A task that is done anew: another one with the same input and options, once for each key."""

from typing import Any

from app.jobs.models import DRY_RUN
from app.tasks.schemas import AcceptedResponse
from tests.api.harness import NOBODY, Api, Json, conforms, problem_of
from tests.api.test_cli_commands import Terminal
from tests.api.world import StartWorld

SAME: Json = {
    "agent": "EchoAgent",
    "priority": 2,
    "deadline_seconds": 600,
    "metadata": {"order": "A-1"},
    "budget": {"tokens": 5000},
    "retry": {"max_attempts": 2},
    "evaluation": {"checks": [{"type": "length", "min_words": 1}]},
    "clarify": True,
}
KEPT = ("input_text", "session_id", "priority", "metadata", "budget", "retry", "max_attempts", "input")


async def rerun(api: Api, task_id: str, **options: Any) -> Any:
    return await api.post(f"/v1/tasks/{task_id}/rerun", **options)


async def test_a_task_is_done_anew_with_all_it_was_given_and_ends_by_itself(
    start_world: StartWorld,
) -> None:
    async with start_world(over_socket=True) as world:
        first = await world.run("say it again", session_id="a-talk", **SAME)

        answer = await rerun(world.api, first["task_id"])
        second = await world.go_on(answer.json()["task_id"])
        printed = await Terminal(world.api).prints("tasks", "rerun", first["task_id"])

        assert answer.status_code == 202
        conforms(AcceptedResponse, answer.json())
        assert answer.headers["Location"] == f"/v1/tasks/{second['task_id']}"
        assert second["task_id"] != first["task_id"]
        assert (first["rerun_of"], second["rerun_of"]) == (None, first["task_id"])
        assert {name: second[name] for name in KEPT} == {name: first[name] for name in KEPT}
        assert (second["status"], second["selected_agent"]) == ("completed", "EchoAgent")
        assert second["result"]["evaluation"]["passed"] is True
        assert second["deadline_at"] > first["deadline_at"]
        assert (await world.api.read(printed.strip()))["rerun_of"] == first["task_id"]


async def test_the_same_key_does_it_once_whatever_became_of_the_first(api: Api) -> None:
    task_id, key = await api.submit(), {"Idempotency-Key": "again"}

    one = await rerun(api, task_id, headers=key)
    await api.hand().fail(task_id)
    same = await rerun(api, task_id, headers=key)
    other = await rerun(api, task_id, headers={"Idempotency-Key": "once more"})

    assert one.json() == same.json()
    assert same.headers["Idempotent-Replayed"] == "true"
    assert other.json()["task_id"] not in {task_id, one.json()["task_id"]}
    assert one.json()["session_id"] != (await api.read(task_id))["session_id"]


async def test_what_is_not_there_cannot_be_done_anew(api: Api) -> None:
    problem_of(await rerun(api, NOBODY), 404, "TASK_NOT_FOUND")


async def test_a_dry_run_has_no_work_to_do_again(api: Api) -> None:
    task_id = await api.submit()
    await api.core.tasks.update_one({"_id": task_id}, {"$set": {DRY_RUN: True}})

    problem_of(await rerun(api, task_id), 409, "TASK_NOT_RERUNNABLE")
