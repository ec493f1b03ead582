"""Which turns are told in full, which are condensed, and in what form the rest is told."""

from datetime import timedelta

from app.llm.messages import Message
from app.llm.tokens import tokens_of
from app.sessions.models import Memory, Position, Turn
from app.sessions.window import Limits, history_of, size_of, turns_to_condense
from tests.job_builders import NOON

MINUTE = timedelta(minutes=1)


def a_turn(number: int, *, answer: str = "An answer.") -> Turn:
    return Turn(Position(NOON + number * MINUTE, f"t{number}"), f"Question {number}?", answer)


TURNS = [a_turn(number) for number in range(1, 7)]
SIZE = size_of(TURNS[0])
MEMORY = Memory("They spoke of strings.", ("The language is Python.",), Position(NOON, "t0"))
RECAP = (
    Message("user", "What have we done so far in this conversation?"),
    Message("assistant", "They spoke of strings.\n- The language is Python."),
)


def test_all_turns_that_fit_are_told_oldest_first() -> None:
    history = history_of(None, TURNS[:2], Limits(context=2 * SIZE, condensed=0))

    assert history == (
        Message("user", "Question 1?"),
        Message("assistant", "An answer."),
        Message("user", "Question 2?"),
        Message("assistant", "An answer."),
    )


def test_of_more_turns_the_newest_are_told() -> None:
    history = history_of(None, TURNS, Limits(context=3 * SIZE - 1, condensed=0))

    assert [message.content for message in history if message.role == "user"] == ["Question 5?", "Question 6?"]


def test_what_is_remembered_stands_before_the_turns_and_counts() -> None:
    limits = Limits(context=tokens_of(RECAP) + SIZE, condensed=0)

    history = history_of(MEMORY, TURNS, limits)

    assert history[:2] == RECAP
    assert history[2].content == "Question 6?"
    assert tokens_of(history) <= limits.context


def test_a_memory_that_does_not_fit_leaves_its_room_to_the_turns() -> None:
    history = history_of(MEMORY, TURNS, Limits(context=tokens_of(RECAP) - 1, condensed=0))

    assert history[-1].content == "An answer."
    assert RECAP[1] not in history


def test_nothing_is_condensed_while_everything_fits() -> None:
    assert turns_to_condense(None, TURNS, Limits(context=6 * SIZE, condensed=SIZE)) == []


def test_past_the_limit_the_oldest_are_condensed_so_that_room_is_left() -> None:
    falling_out = turns_to_condense(None, TURNS, Limits(context=5 * SIZE, condensed=2 * SIZE))

    assert falling_out == TURNS[:3]


def test_without_condensing_the_oldest_are_forgotten() -> None:
    assert turns_to_condense(None, TURNS, Limits(context=SIZE, condensed=0)) == []


def test_more_to_condense_at_a_time_than_there_is_room_condenses_everything() -> None:
    assert turns_to_condense(None, TURNS, Limits(context=5 * SIZE, condensed=9 * SIZE)) == TURNS


def test_what_one_call_condenses_is_bounded_and_never_nothing() -> None:
    huge = [a_turn(number, answer="語" * 100_000) for number in range(9)]

    falling_out = turns_to_condense(None, huge, Limits(context=1000, condensed=100))

    assert 1 <= len(falling_out) < 9
    assert falling_out == huge[: len(falling_out)]
