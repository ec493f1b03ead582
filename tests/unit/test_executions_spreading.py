"""How much of a fan-out is rung for, by the pace at which steps end on the worker that has it."""

import pytest

from app.workflows.executions.spreading import GRACE, HORIZON, REMEMBERED, TICK, Pace

STEPS = 2_000


def end(pace: Pace, count: int) -> None:
    for _ in range(count):
        pace.ended()


def looked_at(pace: Pace, until: float, *, waiting: int = STEPS, since: float = 0.0) -> list[int]:
    """What is shared at each tick."""
    ticks = round((until - since) / TICK) + 1
    return [pace.to_share(waiting, since + number * TICK) for number in range(ticks)]


def test_nothing_is_shared_before_anybody_can_know_how_long_steps_take() -> None:
    pace = Pace()

    assert set(looked_at(pace, GRACE - TICK)) == {0}
    assert pace.to_share(STEPS, GRACE + TICK) == STEPS


@pytest.mark.parametrize("burst", [200, 500])
def test_small_steps_that_end_in_bursts_stay_here(burst: int) -> None:
    pace, waiting, now = Pace(), STEPS, 0.0
    shared = []

    while waiting > 0:
        end(pace, burst)
        waiting -= burst
        for _ in range(8):
            shared.append(pace.to_share(max(waiting, 0), now))
            now += TICK

    assert sum(shared) == 0


def test_of_steps_that_hold_every_slot_for_long_all_are_shared_when_the_grace_is_over() -> None:
    shared = looked_at(Pace(), GRACE + 2 * TICK)

    assert next(one for one in shared if one) == STEPS


def test_what_is_kept_is_begun_within_the_horizon_at_the_pace_so_far() -> None:
    pace = Pace()
    pace.to_share(STEPS, 0.0)
    end(pace, 200)

    shared = pace.to_share(STEPS, REMEMBERED / 2)

    assert shared == STEPS - 200 / (REMEMBERED / 2) * HORIZON


def test_time_in_which_nothing_waited_does_not_count() -> None:
    pace = Pace()
    end(pace, 10)
    assert pace.to_share(0, 1.0) == 0

    pace.to_share(STEPS, 100.0)
    end(pace, 100)

    assert pace.to_share(STEPS, 100.5) == STEPS - 100 / 0.5 * HORIZON
