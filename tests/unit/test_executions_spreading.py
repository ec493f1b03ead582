"""How much of a fan-out is rung for, by the pace at which the worker begins steps by itself."""

import pytest

from app.workflows.executions.spreading import HORIZON, REMEMBERED, TICK, Pace

STEPS = 2_000


def begin(pace: Pace, count: int) -> None:
    for _ in range(count):
        pace.began()


def test_nothing_is_shared_before_a_tick_has_passed() -> None:
    pace = Pace()

    begin(pace, 1)

    assert pace.to_share(STEPS, 10.0) == 0
    assert pace.to_share(STEPS, 10.0 + TICK / 2) == 0
    assert pace.to_share(STEPS, 10.0 + TICK) > 0


@pytest.mark.parametrize("burst", [200, 500])
def test_small_steps_that_begin_in_bursts_stay_here(burst: int) -> None:
    pace, waiting, now = Pace(), STEPS, 0.0
    shared = []

    while waiting > 0:
        begin(pace, burst)
        waiting -= burst
        for _ in range(8):
            shared.append(pace.to_share(max(waiting, 0), now))
            now += TICK

    assert sum(shared) == 0


def test_of_steps_that_hold_every_slot_for_long_all_are_shared_within_the_memory_of_the_pace() -> None:
    pace, waiting = Pace(), STEPS
    begin(pace, 100)

    for look in range(int(REMEMBERED / TICK) + 4):
        waiting -= pace.to_share(waiting, look * TICK)

    assert waiting == 0


def test_what_is_kept_is_begun_within_the_horizon_at_the_pace_so_far() -> None:
    pace = Pace()
    pace.to_share(STEPS, 0.0)
    begin(pace, 200)

    shared = pace.to_share(STEPS, REMEMBERED / 2)

    assert shared == STEPS - 200 / (REMEMBERED / 2) * HORIZON


def test_time_in_which_nothing_waited_does_not_count() -> None:
    pace = Pace()
    begin(pace, 10)
    assert pace.to_share(0, 1.0) == 0

    begin(pace, 100)
    pace.to_share(STEPS, 100.0)

    assert pace.to_share(STEPS, 100.5) == STEPS - 100 / 0.5 * HORIZON
