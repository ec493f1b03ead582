import pytest

from app.llm.simulator.faults import (
    Behaviour,
    Fault,
    FaultBoard,
    UnknownFault,
    faults_in,
    parse_fault,
    without_directives,
)


def test_directives_are_read_and_taken_out() -> None:
    text = "Write about tea [[sim latency=2 role=writer]] please [[sim error=429 retry_after=1]]"

    assert faults_in(text) == (Fault(latency=2.0, role="writer"), Fault(error="429", retry_after=1.0))
    assert without_directives(text) == "Write about tea please"


def test_a_flag_is_a_behaviour() -> None:
    assert faults_in("[[sim hang]]") == (Fault(behaviour=Behaviour.HANG),)


@pytest.mark.parametrize(
    "directive", ["[[sim bogus]]", "[[sim latency=soon]]", "[[sim error=200]]", "[[sim error=oops]]"]
)
def test_a_directive_nobody_can_follow_is_an_error(directive: str) -> None:
    with pytest.raises(UnknownFault):
        faults_in(directive)


def test_a_hang_is_bounded() -> None:
    assert parse_fault({"latency": 1e9}).latency == 600


def test_a_fault_for_one_role_leaves_the_others_alone() -> None:
    board = FaultBoard()
    fault = Fault(role="router", error="500")

    assert board.due("writer", [fault], "d").error is None
    assert board.due("router", [fault], "d").error == "500"


def test_a_flaky_call_fails_the_first_times_per_conversation() -> None:
    board = FaultBoard()
    flaky = Fault(flaky=2)

    errors = [board.due("writer", [flaky], "one").error for _ in range(4)]

    assert errors == ["500", "500", None, None]
    assert board.due("writer", [flaky], "another").error == "500"


def test_a_flaky_behaviour_shows_as_what_it_is() -> None:
    board = FaultBoard()
    flaky = Fault(flaky=1, behaviour=Behaviour.SCHEMA)

    first, second = (board.due("writer", [flaky], "one") for _ in range(2))

    assert (first.behaviour, first.error) == (Behaviour.SCHEMA, None)
    assert second.behaviour is None


def test_an_uncorrected_fault_shows_until_the_prompt_carries_a_correction() -> None:
    board = FaultBoard()
    (fault,) = faults_in("[[sim schema uncorrected]]")
    board.add(fault)

    assert board.due("writer", [fault], "d").behaviour is Behaviour.SCHEMA
    assert board.due("writer", [fault], "d", is_corrected=True).behaviour is None


def test_an_order_to_the_process_holds_until_it_is_used_up_or_cleared() -> None:
    board = FaultBoard()
    board.add(Fault(error="503", times=1))
    board.add(Fault(latency=1.0))

    first, second = (board.due("coder", [], "d") for _ in range(2))
    board.clear()

    assert (first.error, second.error) == ("503", None)
    assert second.latency == 1.0
    assert board.due("coder", [], "d") == Fault()


def test_a_standing_latency_survives_a_clear() -> None:
    board = FaultBoard(latency=0.5)
    board.clear()

    assert board.due("coder", [], "d").latency == 0.5
