"""What a command shows in a terminal: a process of its own on a pseudo terminal."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.devstack.source import with_source
from tests.processes import module

PATIENCE = 20
_STEERING = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class Screen:
    """What a command wrote to its terminal so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self._master = master
        self._text = ""
        self._seen = 0

    async def shows(self, words: str) -> str:
        """Everything up to here, once these words are on the screen."""
        async with asyncio.timeout(PATIENCE):
            while words not in self._text:
                assert await self._reads_more(), self._text
        return self._text

    async def shows_next(self, words: str) -> None:
        """Once these words are on the screen behind those that were waited for before."""
        async with asyncio.timeout(PATIENCE):
            while (found := self._text.find(words, self._seen)) < 0:
                assert await self._reads_more(), self._text
        self._seen = found + len(words)

    def types(self, words: str) -> None:
        """As whoever sits there does."""
        os.write(self._master, f"{words}\n".encode())

    async def task_id(self) -> str:
        """Of the task that the command has submitted."""
        found = re.search(r"task ([0-9a-f-]{36})\n", await self.shows("queued"))
        assert found, self._text
        return found[1]

    async def rest(self) -> str:
        async with asyncio.timeout(PATIENCE):
            while await self._reads_more():
                continue
        return self._text

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    async def _reads_more(self) -> bool:
        """False once nobody has the other end any more."""
        try:
            written = await asyncio.to_thread(os.read, self._master, 64 * 1024)
        except OSError:
            return False
        self._text += _STEERING.sub("", written.decode(errors="replace"))
        return bool(written)


@contextmanager
def command_in_terminal(folder: Path, *arguments: str, environment: Mapping[str, str]) -> Iterator[Screen]:
    """Of the command line, wide enough for what it shows."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        module("app.cli.main", *arguments),
        cwd=folder,
        env=with_source({**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment}),
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
