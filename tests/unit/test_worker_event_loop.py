"""How far the worker's event loop is behind, as the watch sees it."""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.processes import until
from worker.event_loop import EventLoopThread


@pytest.fixture
def events() -> Iterator[EventLoopThread]:
    thread = EventLoopThread()
    yield thread
    thread.stop()
    thread.loop.close()


async def nothing() -> None:
    """One turn of the loop."""


def test_a_slow_start_of_the_process_is_no_lag(events: EventLoopThread) -> None:
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 0.2, "some time passes")

    assert events.measure_lag() < 0.1


def test_a_loop_that_turns_has_no_lag(events: EventLoopThread) -> None:
    events.measure_lag()
    events.run(nothing())

    assert events.measure_lag() < 0.1


@pytest.mark.parametrize("watched_before", [True, False])
def test_the_lag_of_a_blocked_loop_grows(events: EventLoopThread, watched_before: bool) -> None:
    if watched_before:
        events.measure_lag()
        events.run(nothing())
    release = threading.Event()
    events.loop.call_soon_threadsafe(release.wait)

    events.measure_lag()

    try:
        assert until(lambda: events.measure_lag() > 0.2, "the lag grows")
    finally:
        release.set()
