"""The store's clock goes on evenly, whatever the machine's own clock does."""

from datetime import timedelta

from app.database.store_clock import StoreClock
from tests.job_builders import NOON, SECOND


class Monotonic:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_tells_the_stores_time_and_goes_on_from_there() -> None:
    monotonic = Monotonic()
    clock = StoreClock(monotonic=monotonic)

    clock.adopt(NOON, asked_at=999.99, answered_at=1000.0)
    monotonic.now += 7

    assert clock() == NOON + 7 * SECOND + timedelta(milliseconds=5)


def test_a_measurement_that_took_long_does_not_replace_a_good_one() -> None:
    monotonic = Monotonic()
    clock = StoreClock(monotonic=monotonic)
    clock.adopt(NOON, asked_at=1000.0, answered_at=1000.0)

    clock.adopt(NOON + 60 * SECOND, asked_at=1000.0, answered_at=1003.0)

    assert clock() == NOON


def test_a_first_measurement_is_better_than_none_however_long_it_took() -> None:
    clock = StoreClock(monotonic=Monotonic())

    clock.adopt(NOON, asked_at=990.0, answered_at=1000.0)

    assert clock() == NOON + 5 * SECOND
