"""How many jobs a worker runs at a time, whoever takes the places."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.jobs.slots import Slots

PATIENCE = 5.0
# Who is not told waits for longer than the test does.
LONGER = 2 * PATIENCE


def test_no_more_places_are_given_than_there_are() -> None:
    slots = Slots(2)

    given = [slots.try_acquire() for _ in range(3)]

    assert given == [True, True, False]
    assert slots.in_use == 2
    assert not slots.acquire(timeout=0)


def test_a_place_that_is_given_back_goes_to_who_waits_for_it() -> None:
    slots = Slots(1)
    assert slots.try_acquire()

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(slots.acquire, LONGER)
        slots.release()

        assert waiting.result(PATIENCE)
    assert slots.in_use == 1


def test_threads_and_the_event_loop_together_never_take_too_many() -> None:
    slots, most, seen = Slots(3), 3, list[int]()
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait(PATIENCE)
        for _ in range(200):
            if slots.acquire(PATIENCE) if number % 2 else slots.try_acquire():
                seen.append(slots.in_use)
                slots.release()

    with ThreadPoolExecutor(max_workers=6) as pool:
        for done in [pool.submit(work, number) for number in range(6)]:
            done.result(PATIENCE)

    assert 1 <= min(seen) <= max(seen) <= most
    assert slots.in_use == 0


def test_a_place_that_nobody_has_cannot_be_given_back() -> None:
    slots = Slots(1)

    with pytest.raises(ValueError, match="nobody had taken"):
        slots.release()

    assert slots.try_acquire()


def test_who_waits_for_the_end_is_told_when_the_last_place_is_free() -> None:
    slots = Slots(2)
    assert slots.wait_until_idle(0)
    slots.try_acquire()
    slots.try_acquire()

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(slots.wait_until_idle, LONGER)
        slots.release()
        assert not slots.wait_until_idle(0)
        slots.release()

        assert waiting.result(PATIENCE)


def test_without_a_worker_that_may_claim_there_is_no_holder() -> None:
    slots = Slots(1)
    before = slots.holder()
    ids: list[str | None] = ["w1", None]

    slots.identify_by(lambda: ids[0])
    with_lease = slots.holder()
    ids.reverse()

    assert (before, with_lease, slots.holder()) == (None, "w1", None)
