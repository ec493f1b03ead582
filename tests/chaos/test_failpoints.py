"""Failpoints are read right: one that never acts would prove nothing."""

import pytest

from tests.chaos.failpoints import Failpoint, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("settle.before:kill", Failpoint("settle", "before", "kill", 0, 1)),
        ("claim.after:hang=2.5@3", Failpoint("claim", "after", "hang", 2.5, 3)),
        ("settle.before:raise@*", Failpoint("settle", "before", "raise", 0, None)),
    ],
)
def test_a_failpoint_is_read(text: str, expected: Failpoint) -> None:
    assert parse(text) == [expected]


def test_several_are_read_in_order() -> None:
    assert [one.place for one in parse("claim.before:kill, settle.after:exit=3")] == ["claim", "settle"]


@pytest.mark.parametrize("text", ["settle", "nowhere.before:kill", "settle.during:kill", "settle.before:dance"])
def test_what_is_no_failpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no failpoint"):
        parse(text)


def test_it_acts_the_nth_time_only() -> None:
    failpoint = Failpoint("settle", "before", "kill", 0, 2)

    assert [failpoint.is_due() for _ in range(4)] == [False, True, False, False]


def test_it_acts_each_time_when_told_so() -> None:
    failpoint = Failpoint("settle", "before", "kill", 0, None)

    assert all(failpoint.is_due() for _ in range(3))
