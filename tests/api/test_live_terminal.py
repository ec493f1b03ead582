"""`orchestrate task` in a terminal: a process of its own, on a pseudo terminal, against the API behind a socket."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.devstack.source import with_source
from tests.api.telling import TellingWorld, started_telling_world
from tests.api.world import StartWorld, World
from tests.processes import module

PATIENCE = 20
_STEERING = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")
pytestmark = pytest.mark.slow


class Screen:
    """What a command wrote to its terminal so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self._master = master
        self._text = ""

    async def shows(self, words: str) -> str:
        """Everything up to here, once these words are on the screen."""
        async with asyncio.timeout(PATIENCE):
            while words not in self._text:
                self._text += await self._more()
        return self._text

    async def task_id(self) -> str:
        """Of the task that the command has submitted."""
        found = re.search(r"task ([0-9a-f-]{36})\n", await self.shows("queued"))
        assert found, self._text
        return found[1]

    async def rest(self) -> str:
        async with asyncio.timeout(PATIENCE):
            while more := await self._more():
                self._text += more
        return self._text

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    async def _more(self) -> str:
        try:
            written = await asyncio.to_thread(os.read, self._master, 64 * 1024)
        except OSError:  # Nobody has the other end any more.
            return ""
        return _STEERING.sub("", written.decode(errors="replace"))


@contextmanager
def terminal_of(world: World, folder: Path, *arguments: str) -> Iterator[Screen]:
    master, slave = os.openpty()
    environment = {**os.environ, "ORCHESTRATE_URL": str(world.api.client.base_url), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        module("app.cli.main", *arguments),
        cwd=folder,
        env=with_source(environment),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Screen(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


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
