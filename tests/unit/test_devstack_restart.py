from datetime import timedelta

from app.devstack.restart import GiveUp, Restart, RestartPolicy, deaths_in_row, decide

POLICY = RestartPolicy(first_delay=timedelta(seconds=1), longest_delay=timedelta(seconds=10), loop=3, tries=2)


def test_the_delay_doubles_up_to_the_longest() -> None:
    delays = [decide(POLICY, deaths=deaths, was_ready=True) for deaths in (1, 2, 3, 4, 5, 500)]

    seconds = [delay.delay.total_seconds() for delay in delays if isinstance(delay, Restart)]
    assert seconds == [1, 2, 4, 8, 10, 10]


def test_several_deaths_in_a_row_are_a_loop() -> None:
    assert decide(POLICY, deaths=2, was_ready=True) == Restart(timedelta(seconds=2), looping=False)
    assert decide(POLICY, deaths=3, was_ready=True) == Restart(timedelta(seconds=4), looping=True)


def test_a_part_that_was_never_ready_is_given_up_soon() -> None:
    assert decide(POLICY, deaths=1, was_ready=False) == Restart(timedelta(seconds=1), looping=False)
    assert decide(POLICY, deaths=2, was_ready=False) == GiveUp()


def test_a_part_that_stayed_up_long_enough_begins_with_a_clean_record() -> None:
    assert deaths_in_row(POLICY, before=7, lived=timedelta(seconds=59)) == 8
    assert deaths_in_row(POLICY, before=7, lived=timedelta(seconds=60)) == 1
