"""What does not fit is cut by rule: oldest turns first, never the instructions or the task."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.context import (
    ContextTooLong,
    FittedChat,
    fit,
    fit_ranked,
    last_turn,
    turns_of,
)
from app.llm.messages import Message, correction
from app.llm.tokens import TOKENS_PER_MESSAGE, estimate_tokens, tokens_of
from app.llm.usage import ModelRole
from tests.fakes.agents import SteadyChat

SYSTEM = Message("system", "Do as you are told.")
TASK = Message("user", "And now in Go.")


def a_turn(number: int) -> tuple[Message, Message]:
    return Message("user", f"Question {number}."), Message("assistant", f"Answer {number}.")


HISTORY = (*a_turn(1), *a_turn(2), *a_turn(3))


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("äöü", 2), ("日本", 2)])
def test_a_token_is_taken_to_be_three_bytes(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_half_a_surrogate_pair_can_be_counted() -> None:
    assert estimate_tokens("\ud800") == 1


def test_what_fits_is_left_as_it_is() -> None:
    messages = (SYSTEM, *HISTORY, TASK)

    assert fit(messages, tokens_of(messages)) == messages


@pytest.mark.parametrize(("missing", "kept"), [(1, 2), (20, 1), (38, 0)])
def test_the_oldest_turns_go_first_and_whole(missing: int, kept: int) -> None:
    messages = (SYSTEM, *HISTORY, TASK)

    fitted = fit(messages, tokens_of(messages) - missing)

    assert fitted == (SYSTEM, *HISTORY[len(HISTORY) - 2 * kept :], TASK)


def test_a_turn_that_does_not_fit_takes_the_older_ones_with_it() -> None:
    long = (Message("user", "Long?"), Message("assistant", "long " * 100))
    messages = (SYSTEM, *a_turn(1), *long, *a_turn(3), TASK)

    assert fit(messages, 60) == (SYSTEM, *a_turn(3), TASK)


def test_what_corrects_an_answer_stays_with_the_task_and_the_answer() -> None:
    tail = (TASK, Message("assistant", "No code."), correction("no code block"))
    messages = (SYSTEM, *HISTORY, *tail)

    assert fit(messages, tokens_of((SYSTEM, *tail))) == (SYSTEM, *tail)


def test_a_task_that_is_too_long_is_an_error_that_names_the_way_out() -> None:
    messages = (SYSTEM, *HISTORY, Message("user", "word " * 1000))

    with pytest.raises(ContextTooLong, match=r"about 1\d+ tokens, and 1000 fit: shorten the task.* LLM_CONTEXT_TOKENS"):
        fit(messages, 1000)


def test_a_prompt_without_a_task_is_never_cut() -> None:
    with pytest.raises(ContextTooLong):
        fit((SYSTEM, Message("assistant", "word " * 100)), 100)


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=60)), max_size=8), st.integers(0, 200))
def test_whatever_was_said_the_result_fits_and_is_a_tail_of_whole_turns(
    said: list[tuple[str, str]], limit: int
) -> None:
    history = [message for asked, told in said for message in (Message("user", asked), Message("assistant", told))]
    messages = (SYSTEM, *history, TASK)

    try:
        fitted = fit(messages, limit)
    except ContextTooLong:
        assert tokens_of((SYSTEM, TASK)) > limit
        return

    assert tokens_of(fitted) <= limit
    assert fitted[0] == SYSTEM
    assert fitted[-1] == TASK
    between = list(fitted[1:-1])
    assert between == history[len(history) - len(between) :]
    assert len(between) % 2 == 0


def test_of_what_is_ranked_the_last_are_left_out() -> None:
    assert fit_ranked(["aaa", "bb", "cccc", "d"], 6, size=len) == ["aaa", "bb"]
    assert fit_ranked(["aaa"], 2, size=len) == []


def test_turns_begin_with_what_the_user_said() -> None:
    stray = Message("assistant", "Hello.")

    assert turns_of((stray, *HISTORY)) == [(stray,), a_turn(1), a_turn(2), a_turn(3)]


def test_the_last_turn_is_cut_to_its_beginning() -> None:
    history = (*a_turn(1), Message("user", "x" * 20), Message("assistant", "short"))

    assert last_turn(history, longest=10) == (Message("user", f"{'x' * 10}…"), Message("assistant", "short"))
    assert last_turn((), longest=10) == ()


async def test_a_chat_gets_only_what_fits() -> None:
    chat = SteadyChat("Fine.")
    messages = (SYSTEM, *HISTORY, TASK)
    limit = tokens_of((SYSTEM, TASK)) + TOKENS_PER_MESSAGE

    answer = await FittedChat(chat, limit=limit).complete(ModelRole.CODE, messages, max_tokens=7)

    assert answer.text == "Fine."
    assert chat.asked == [(ModelRole.CODE, (SYSTEM, TASK))]
    assert chat.limits == [7]


async def test_a_chat_is_not_asked_what_is_too_long() -> None:
    chat = SteadyChat("Fine.")

    with pytest.raises(ContextTooLong):
        await FittedChat(chat, limit=5).complete(ModelRole.CODE, (SYSTEM, TASK))

    assert chat.asked == []
