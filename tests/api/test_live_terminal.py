"""`orchestrate task` in a terminal: a process of its own, on a pseudo terminal, against the API behind a socket."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.api.telling import TellingWorld, started_telling_world
from tests.api.world import StartWorld, World
from tests.terminals import Screen, command_in_terminal

pytestmark = pytest.mark.slow


@contextmanager
def terminal_of(world: World, folder: Path, *arguments: str) -> Iterator[Screen]:
    environment = {"ORCHESTRATE_URL": str(world.api.client.base_url)}
    with command_in_terminal(folder, *arguments, environment=environment) as screen:
        yield screen


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[TellingWorld]:
    async with started_telling_world(start_world) as started:
        yield started


async def test_the_text_and_the_tools_are_shown_while_they_come_and_the_answer_at_the_end(
    world: TellingWorld, tmp_path: Path
) -> None:
    with terminal_of(world, tmp_path, "task", "Tell me", "--agent", "TellingAgent") as screen:
        attempt = world.begin(await screen.task_id())
        call = await world.provider.next_call()
        await call.say("Once upon ")
        seen = await screen.shows("Once upon")
        assert not attempt.done()
        await call.say("a time")
        await call.finish()
        everything = await screen.rest()
        code = await screen.exit_code()

    assert "tool: leave_note started" in seen
    assert "completed by TellingAgent" in everything
    assert everything.rstrip().endswith("Once upon a time")
    assert code == 0


async def test_ctrl_c_in_the_middle_of_an_answer_leaves_the_terminal_and_the_task_as_they_should_be(
    world: TellingWorld, tmp_path: Path
) -> None:
    with terminal_of(world, tmp_path, "task", "Tell me", "--agent", "TellingAgent") as screen:
        task_id = await screen.task_id()
        attempt = world.begin(task_id)
        call = await world.provider.next_call()
        await call.say("Once upon ")
        await screen.shows("Once upon")
        screen.process.send_signal(signal.SIGINT)
        everything = await screen.rest()
        code = await screen.exit_code()
        await call.finish()
        await attempt

    assert f"orchestrate tasks show {task_id}" in everything
    assert "Traceback" not in everything
    assert code == 130
    assert (await world.api.read(task_id))["status"] == "completed"
