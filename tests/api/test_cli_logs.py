"""`orchestrate logs` against the real API behind a socket."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from app.cli.logs import Following
from app.cli.server import Json
from app.cli.server import Server as Asked
from tests.api.harness import Api, api_settings, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.architecture.command_line import calls, curl_of
from tests.architecture.markdown import blocks_of
from tests.processes import Server


@pytest.fixture
async def api(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


async def send(api: Api, *lines: Json) -> None:
    told = [{"at": "2026-11-21T10:00:00Z", "level": "info", **line} for line in lines]
    assert (await api.post("/v1/logs", told)).status_code == 202


async def test_lines_are_shown_oldest_first_on_one_line_each(api: Api, terminal: Terminal) -> None:
    await send(
        api,
        {"message": "it began", "logger": "crawler"},
        {"message": "two\nlines \x1b[31m", "level": "error", "at": "2026-11-21T10:00:01Z", "fields": {"status": 503}},
    )

    shown = (await terminal.prints("logs")).splitlines()
    found = await terminal.prints("logs", "lines", "503", "--level", "warning", "--json")

    assert shown == [
        "2026-11-21 10:00:00.000 info     it began logger=crawler",
        "2026-11-21 10:00:01.000 error    two lines [31m status=503",
    ]
    assert json.loads(found)["fields"] == {"status": 503}


async def test_lines_are_found_by_task_execution_and_time(api: Api, terminal: Terminal) -> None:
    await send(api, {"message": "one", "task_id": "t1"}, {"message": "two", "execution_id": "e1"})

    assert "one" in await terminal.prints("logs", "--task", "t1")
    assert "two" in await terminal.prints("logs", "--execution", "e1")
    assert await terminal.prints("logs", "--from", "2026-11-21T11:00:00Z") == ""
    assert await terminal.prints("logs", "--to", "2026-11-21T09:00:00Z") == ""


async def test_following_tells_each_line_once_however_many_come_and_whatever_time_they_tell(api: Api) -> None:
    await send(api, {"message": "known"})
    async with Asked(str(api.client.base_url)) as asked:
        known = (await asked.get("logs"))["items"]
        following = Following({"level": "info"}, known)
        await send(api, *({"message": f"line {number}"} for number in range(150)))
        await send(api, {"message": "from last year", "at": "2025-11-21T10:00:00Z"})

        first = [line["message"] for line in await following.read_new(asked)]
        again = await following.read_new(asked)
        await send(api, {"message": "one more"}, {"message": "not this", "level": "debug"})
        more = [line["message"] for line in await following.read_new(asked)]

    assert sorted(first) == sorted([*(f"line {number}" for number in range(150)), "from last year"])
    assert first[0] == "from last year"
    assert again == []
    assert more == ["one more"]


async def test_following_begins_where_nothing_is_yet(api: Api) -> None:
    async with Asked(str(api.client.base_url)) as asked:
        following = Following({}, [])
        nothing = await following.read_new(asked)
        await send(api, {"message": "the first"})
        found = await asyncio.wait_for(following.read_new(asked), timeout=20)

    assert nothing == []
    assert [line["message"] for line in found] == ["the first"]


async def test_what_the_guide_shows_works_in_its_order(api: Api, terminal: Terminal) -> None:
    done = []

    shown = [block.text for block in blocks_of("bash") if block.page.name == "keep-logs.md"]
    for call in (call for text in shown for call in calls(text)):
        if call.program == "orchestrate" and "--follow" not in call.arguments:
            await terminal.prints(*call.arguments)
        elif curl := curl_of(call):
            json_body = {"content-type": "application/json"} if curl.body else {}
            answer = await api.client.request(curl.method, curl.path, content=curl.body, headers=json_body)
            assert answer.is_success, (curl, answer.text)
        done.append(call.program)

    assert (done.count("orchestrate"), done.count("curl")) == (4, 2)
    assert "http.status=429" in await terminal.prints("logs", "crawler")
