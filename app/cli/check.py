"""One finding of `orchestrate doctor`."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

PATIENCE = timedelta(seconds=5)


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, and what to do about it when it is not well."""

    name: str
    grade: Grade
    finding: str
    remedy: str | None = None

    @property
    def failed(self) -> bool:
        return self.grade is Grade.FAIL


def ok(name: str, finding: str) -> Check:
    return Check(name, Grade.OK, finding)


def warn(name: str, finding: str, remedy: str) -> Check:
    return Check(name, Grade.WARN, finding, remedy)


def fail(name: str, finding: str, remedy: str) -> Check:
    return Check(name, Grade.FAIL, finding, remedy)


async def bounded(name: str, check: Awaitable[Check], *, patience: timedelta = PATIENCE) -> Check:
    """The check's finding; no answer in time is a finding too."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            return await check
    except TimeoutError:
        seconds = f"{patience.total_seconds():g}"
        return fail(name, f"no answer in {seconds} s", "see whether it runs and whether a firewall lies between")
