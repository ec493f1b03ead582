"""What can befall a process between two operations on the store: it dies, it stalls, it loiters."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from app.database.documents import Document
from tests.fakes.mongo import FakeCursor


class Crash(Exception):
    """Stands for the process dying between two writes."""


@dataclass
class Fate:
    """What befalls one process: it loiters before its operations, stalls before one of them, dies at a write."""

    dies_at: int = 0
    half: str = "before"
    stalls_at: int = 0
    dice: random.Random | None = None
    operations: int = 0
    writes: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        self.operations += 1
        for _ in range(self.dice.randrange(12) if self.dice else 0):
            await asyncio.sleep(0)
        if self.operations == self.stalls_at:
            self.stalled.set()
            await self.woken.wait()

    async def write(self, doing: Any) -> Any:
        await self.read()
        self.writes += 1
        self._die("before")
        try:
            return await doing()
        finally:  # a refused write, too, is one after which a process can die
            self._die("after")

    def _die(self, half: str) -> None:
        if self.writes == self.dies_at and half == self.half:
            raise Crash


class LateCursor(FakeCursor):
    def __init__(self, inner: Any, fate: Fate) -> None:
        super().__init__(inner)
        self._fate = fate

    async def to_list(self, length: int | None = None) -> list[Document]:
        await self._fate.read()
        return await super().to_list(length)


class Collection:
    """A collection as one process sees it. Like the real one it updates many documents one by one."""

    def __init__(self, inner: Any, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate
        self.name = inner.name

    def find(self, *args: Any) -> LateCursor:
        self._fate.commands["find"] += 1
        return LateCursor(self._inner.find(*args)._inner, self._fate)

    async def find_one(self, *args: Any) -> Any:
        self._fate.commands["find_one"] += 1
        await self._fate.read()
        return await self._inner.find_one(*args)

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            self._fate.commands[name] += 1
            return await self._fate.write(lambda: getattr(self._inner, name)(*args, **options))

        return call

    async def update_many(self, where: Mapping[str, Any], update: Any) -> Any:
        self._fate.commands["update_many"] += 1
        await self._fate.read()
        modified = 0
        for found in await self._inner.find(where, {"_id": 1}).to_list():
            one = {**where, "_id": found["_id"]}
            modified += (await self._fate.write(partial(self._inner.update_one, one, update))).modified_count
        return SimpleNamespace(modified_count=modified)
