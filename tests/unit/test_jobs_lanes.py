"""Fair order among lanes, and the place of a job in its own."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.jobs.lanes import FairOrder, end_of_parking, parking_lane, permit_waited_for, rank_of
from tests.job_builders import NOON, SECOND

MINUTE = timedelta(minutes=1)


def turns(order: FairOrder, lanes: list[str], number: int) -> list[str]:
    """Who gets the next ``number`` turns while none of the lanes runs empty."""
    taken = []
    for _ in range(number):
        order.follow(lanes)
        lane = order.next_lane()
        assert lane is not None
        taken.append(lane)
    return taken


def test_lanes_take_turns() -> None:
    assert turns(FairOrder({}), ["a", "b"], 6) == ["a", "b", "a", "b", "a", "b"]


def test_a_lane_of_three_times_the_weight_gets_three_times_the_turns() -> None:
    order = FairOrder({"a": 3.0})

    assert Counter(turns(order, ["a", "b"], 40)) == {"a": 30, "b": 10}


def test_the_weight_of_everybody_holds_for_those_not_named() -> None:
    order = FairOrder({"a": 1.0, "*": 2.0})

    assert Counter(turns(order, ["a", "b"], 30)) == {"a": 10, "b": 20}


def test_a_lane_that_was_away_has_saved_nothing_up() -> None:
    order = FairOrder({})
    turns(order, ["busy"], 1000)

    taken = turns(order, ["busy", "back"], 10)

    assert Counter(taken)["back"] <= 6


def test_a_lane_that_is_new_is_served_at_once() -> None:
    order = FairOrder({})
    turns(order, ["busy"], 1000)

    assert "new" in turns(order, ["busy", "new"], 2)


def test_there_is_no_next_lane_when_all_are_empty() -> None:
    order = FairOrder({})
    order.follow(["a"])
    order.leave("a")

    assert order.next_lane() is None


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 10.0), min_size=2))
def test_turns_follow_the_weights_within_one_turn_of_each_lane(weights: dict[str, float]) -> None:
    lanes, number = sorted(weights), 500
    taken = Counter(turns(FairOrder(weights), lanes, number))

    total = sum(weights.values())
    for lane in lanes:
        assert abs(taken[lane] - number * weights[lane] / total) <= len(lanes) + 1


def test_older_jobs_come_first() -> None:
    assert rank_of(NOON, 5, step=MINUTE) < rank_of(NOON + SECOND, 5, step=MINUTE)


def test_a_priority_is_worth_its_step_and_no_more() -> None:
    waited_four_minutes, urgent = rank_of(NOON, 5, step=MINUTE), rank_of(NOON + 4 * MINUTE, 9, step=MINUTE)

    assert waited_four_minutes == urgent
    assert waited_four_minutes < rank_of(NOON + 4 * MINUTE + SECOND, 9, step=MINUTE)


def test_a_parking_lane_names_its_permit() -> None:
    assert permit_waited_for(parking_lane("agent:CodeAgent", "acme")) == "agent:CodeAgent"
    assert permit_waited_for("acme") is None
    assert permit_waited_for(None) is None


def test_the_parking_lanes_of_a_permit_lie_side_by_side() -> None:
    permits = ["agent:Code", "agent:Code-2", "agent:Code2", "agent:CodeAgent"]
    lanes = sorted(parking_lane(permit, tenant) for permit in permits for tenant in ("acme", "z.z"))

    for permit in permits:
        between = [lane for lane in lanes if parking_lane(permit, "") < lane < end_of_parking(permit)]
        assert between == [parking_lane(permit, "acme"), parking_lane(permit, "z.z")]
