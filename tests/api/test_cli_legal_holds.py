"""`orchestrate legal-holds` against the real API behind a socket, and the guide that shows it."""

from collections.abc import AsyncIterator

import pytest

from tests.api.harness import Api, api_settings, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.architecture.command_line import calls, curl_of
from tests.architecture.markdown import blocks_of
from tests.execution_builders import an_execution
from tests.processes import Server


@pytest.fixture
async def api(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


async def test_a_hold_is_placed_listed_and_released(api: Api, terminal: Terminal) -> None:
    task_id = await api.submit()

    placed = await terminal.prints("legal-holds", "place", "task", task_id, "--reason", "a\ncase \x1b[31m")
    listed = await terminal.json("legal-holds", "list", "--kind", "task")
    released = await terminal.prints("legal-holds", "release", "task", task_id)
    again = await terminal.prints("legal-holds", "release", "task", task_id)

    assert placed.splitlines()[1].split()[:2] == ["task", task_id]
    assert placed.splitlines()[1].endswith("anonymous       a case [31m")
    assert [one["subject_id"] for one in listed["items"]] == [task_id]
    assert released == again == f"task {task_id} is not held any more\n"
    assert (await terminal.prints("legal-holds", "list")).splitlines()[1:] == []


async def test_what_cannot_be_held_is_refused_with_what_is_wrong(terminal: Terminal) -> None:
    unknown = await terminal.fails("legal-holds", "place", "artifact", "f" * 64, "--reason", "x")
    without = await terminal.fails("legal-holds", "place", "task", "no-id", "--reason", " ")

    assert "ARTIFACT_NOT_FOUND" in unknown.message
    assert "reason" in without.message
    assert "VALIDATION_ERROR" in without.message


async def test_the_guide_to_legal_holds_works_as_it_is_written(api: Api, terminal: Terminal) -> None:
    execution = an_execution(tenant_id="default")
    await api.core.executions.documents.insert(dict(execution.document))
    ids = {"$TASK": await api.submit(), "$EXECUTION": execution.id}
    done: list[str] = []

    script = "\n".join(block.text for block in blocks_of("bash") if block.page.name == "legal-hold.md")
    for name, value in ids.items():
        script = script.replace(name, value)
    for call in calls(script):
        if call.program == "orchestrate":
            await terminal.prints(*call.arguments)
        elif curl := curl_of(call):
            headers = {"content-type": "application/json"} if curl.body else None
            answer = await api.client.request(curl.method, curl.path, content=curl.body, headers=headers)
            assert answer.is_success, curl
        done.append(call.program)

    assert (done.count("orchestrate"), done.count("curl")) == (4, 3)
    assert (await api.get("/v1/legal-holds")).json()["items"] == []
