"""The events of an execution for one client: in order, once, over gaps, and to the end."""

from collections.abc import Sequence
from typing import Any

import pytest
from fastapi.sse import ServerSentEvent

from app.events.places import Place
from app.events.signals import Signals
from app.events.stream import StreamOver
from app.jobs.models import Job
from app.workflows.executions.events import ExecutionStream, check_not_over
from app.workflows.executions.timeline import Kind, Occurrence
from tests.execution_builders import a_step, an_execution, ended
from tests.job_builders import NOON


class Story:
    """What the store says at each look; the last look lasts."""

    def __init__(self, *looks: tuple[Job, Sequence[Occurrence]]) -> None:
        self._looks = list(looks)
        self.occurrences: Sequence[Occurrence] = ()
        self.now = 0.0

    async def read(self) -> Job:
        job, self.occurrences = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        self.now += 1.0
        return job

    async def list_after(self, _execution: Job, after: int, *, limit: int) -> list[Occurrence]:
        return [one for one in self.occurrences if one.seq > after][:limit]

    async def newest(self, _execution: Job) -> int:
        return max((one.seq for one in self.occurrences), default=0)

    def stream(self) -> ExecutionStream:
        timeline: Any = self
        return ExecutionStream("an-execution", self.read, timeline, Signals(None), monotonic=lambda: self.now)


def began(seq: int, path: str = "say") -> Occurrence:
    return Occurrence(seq, NOON, Kind.STARTED, a_step(path, seq=seq))


def is_over(seq: int, path: str = "say") -> Occurrence:
    return Occurrence(seq, NOON, Kind.ENDED, ended(a_step(path), seq))


def noted(seq: int) -> Occurrence:
    return Occurrence(seq, NOON, Kind.EXECUTION, {"seq": seq, "at": NOON, "event": "started"})


def running() -> Job:
    return an_execution(status="processing", begun_at=NOON)


def completed(last_seq: int) -> Job:
    return an_execution(status="completed", begun_at=NOON, completed_at=NOON, last_seq=last_seq)


async def seen(story: Story, last_seen: str | None) -> list[tuple[str | None, str | None, Any]]:
    def short(event: ServerSentEvent) -> tuple[str | None, str | None, Any]:
        data: Any = event.data
        return event.id, event.event, data["status"] if event.event is None else data["event"]

    return [short(event) async for event in story.stream().events(Place.read(last_seen))]


async def test_from_the_beginning_every_event_comes_once_and_the_final_status_last() -> None:
    whole = [noted(1), began(2), is_over(3), noted(4)]

    events = await seen(Story((running(), whole[:2]), (running(), whole[:3]), (completed(4), whole)), "0")

    assert events == [
        ("2", "step", "step.started"),
        ("2-1", None, "processing"),
        ("3", "step", "step.ended"),
        ("4-2", None, "completed"),
    ]


async def test_without_a_place_it_begins_with_the_status_of_now() -> None:
    known = [noted(1), began(2)]
    story = Story((running(), known), (completed(4), [*known, is_over(3), noted(4)]))

    events = await seen(story, None)

    assert events == [("2-1", None, "processing"), ("3", "step", "step.ended"), ("4-2", None, "completed")]


async def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice() -> None:
    whole = [noted(1), began(2), is_over(3), began(4, "b"), is_over(5, "b"), noted(6)]

    events = await seen(Story((completed(6), whole)), "3-1")

    assert [event[0] for event in events] == ["4", "5", "6-2"]


async def test_a_number_that_is_missing_for_a_moment_is_waited_for() -> None:
    story = Story(
        (running(), [noted(1), began(2), began(4, "b")]),
        (running(), [noted(1), began(2), began(3, "a"), began(4, "b")]),
        (completed(5), [noted(1), began(2), began(3, "a"), began(4, "b"), noted(5)]),
    )

    events = await seen(story, "0")

    assert [event[0] for event in events if event[1]] == ["2", "3", "4"]


async def test_a_number_that_is_missing_for_ever_is_passed_over() -> None:
    found = [noted(1), began(2), began(4, "b")]

    events = await seen(Story(*[(running(), found)] * 4, (completed(5), found)), "0")

    assert [event[0] for event in events if event[1]] == ["2", "4"]


async def test_the_end_of_an_execution_waits_for_no_number() -> None:
    events = await seen(Story((completed(9), [began(2), is_over(7)])), "0")

    assert [event[0] for event in events] == ["2", "7", "9-2"]


def test_who_has_seen_the_end_is_told_that_there_is_no_more() -> None:
    with pytest.raises(StreamOver):
        check_not_over(completed(6), Place.read("6-2"))
    check_not_over(completed(6), Place.read("6-1"))
    check_not_over(completed(6), None)
    check_not_over(running(), Place.read("6-2"))
