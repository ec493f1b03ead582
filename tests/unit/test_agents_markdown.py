import pytest

from app.agents.markdown import LONGEST_OUTPUT, SUMMARY_LENGTH, checked_output, code_blocks, prose, summarize
from app.llm.errors import AgentOutputInvalid

ANSWER = "Slicing walks **backwards**.\n\n```python\nprint('a')\n```\n\nTry it."


def test_a_fence_is_read_with_its_tag() -> None:
    (block,) = code_blocks(ANSWER)

    assert (block.tag, block.body) == ("python", "print('a')")


def test_tildes_windows_line_ends_and_longer_fences_are_fences() -> None:
    assert [block.body for block in code_blocks("~~~js\r\n1\r\n~~~\n\n````md\n```\ninner\n```\n````")] == [
        "1",
        "```\ninner\n```",
    ]


def test_a_fence_that_was_cut_off_or_left_empty_is_no_code() -> None:
    assert code_blocks("Here:\n\n```python\nprint(") == []
    assert code_blocks("```python\n\n```") == []


def test_prose_is_what_stands_outside_of_fences() -> None:
    assert "print" not in prose(ANSWER)
    assert "Try it." in prose(ANSWER)
    assert prose("Before\n\n```python\nhalf") == "Before"


def test_a_summary_is_the_first_sentence_without_markup() -> None:
    text = "# Title\n\n> The **cost** of [solar](https://x.org) power fell by half [1][2]. More follows.\n\nEnd."

    assert summarize(text) == "The cost of solar power fell by half."


def test_a_summary_is_cut_between_words() -> None:
    summary = summarize("word " * 100)

    assert len(summary) <= 201
    assert summary.endswith("word…")


def test_short_abbreviations_end_no_summary() -> None:
    assert summarize("Dr. Lovelace wrote the first program. She did.") == "Dr. Lovelace wrote the first program."


def test_a_summary_of_code_alone_is_the_fallback() -> None:
    assert summarize("```go\nx\n```", fallback="Code in go.") == "Code in go."


def test_identifiers_keep_their_underscores_and_arithmetic_its_stars() -> None:
    assert (
        summarize("Call my_long_name with 2 * 3 * 4 as its input.") == "Call my_long_name with 2 * 3 * 4 as its input."
    )


@pytest.mark.parametrize("text", ["", " \n\t ", "x" * (LONGEST_OUTPUT + 1)], ids=["empty", "blank", "huge"])
def test_blank_and_huge_answers_are_invalid(text: str) -> None:
    with pytest.raises(AgentOutputInvalid):
        checked_output(text)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("mark", ["```", "~~~"])
@pytest.mark.parametrize("filling", [" ", "\t", "~"])
def test_one_long_line_that_only_looks_like_a_fence_does_not_hold_up_the_worker(mark: str, filling: str) -> None:
    hostile = f"{mark}{filling * (LONGEST_OUTPUT - 4)}`"

    assert code_blocks(hostile) == []
    assert prose(hostile) == hostile


@pytest.mark.timeout(10)
@pytest.mark.parametrize("unit", ["`", "*", "[", "~~~a\n", "x  ", "__a", "![a](", "\n "])
def test_hostile_markdown_does_not_hold_up_the_worker(unit: str) -> None:
    hostile = unit * (LONGEST_OUTPUT // len(unit))

    assert len(summarize(hostile)) <= SUMMARY_LENGTH + 1
    assert code_blocks(hostile) == []
