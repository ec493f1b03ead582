import pytest

from app.llm.follow_ups import is_follow_up


@pytest.mark.parametrize(
    "text",
    [
        "and now in Go",
        "Now in rust, please",
        "What about Java?",
        "In TypeScript",
        "Go version",
        "the same with type hints",
        "Explain it",
        "please add tests for it",
        "Translate that into Rust",
        "Thanks! Make it faster.",
        "do that again",
    ],
)
def test_what_cannot_be_understood_alone_goes_on_with_what_was_said(text: str) -> None:
    assert is_follow_up(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Write a Python function that reverses a string",
        "Python code that sorts a list",
        "A function to reverse a string in Go",
        "Review this:\n```python\nx = 1\n```",
        "Explain how vaccines work",
        "and now write a program that reads a file line by line and counts every word in it",
    ],
)
def test_a_request_that_says_what_it_is_about_stands_alone(text: str) -> None:
    assert not is_follow_up(text)
