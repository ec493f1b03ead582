import pytest

from app.agents.code.modes import mode_named_in


@pytest.mark.parametrize(
    ("task", "mode"),
    [
        ("Write a Python function to reverse a string", "generate"),
        ("Build an HTTP health endpoint in Go", "generate"),
        ("Fix the bug in this JavaScript loop", "generate"),
        ("Convert this Python to Go", "generate"),
        ("Write a function with tests", "generate"),
        ("Create a class that reviews orders", "generate"),
        ("Write a script to explain a query plan", "generate"),
        ("Implement a test runner in Rust", "generate"),
        ("Write unit tests for this function", "test"),
        ("Please add some pytest tests for it", "test"),
        ("Generate table-driven Go tests", "test"),
        ("write a test for the parser", "test"),
        ("Test this function", "test"),
        ("and now tests for it", "test"),
        ("Review this function", "review"),
        ("Can you do a code review of my class?", "review"),
        ("Find the bugs in this query", "review"),
        ("What's wrong here?", "review"),
        ("Explain what this regular expression does", "explain"),
        ("How does this function work?", "explain"),
        ("What does the code do", "explain"),
        ("Refactor this class", "refactor"),
        ("now clean up the code", "refactor"),
        ("Make it more readable", "refactor"),
        ("and now in Go", None),
        ("SQL query for the ten largest customers", None),
        ("", None),
    ],
)
def test_the_beginning_of_a_task_says_what_to_do(task: str, mode: str | None) -> None:
    assert mode_named_in(task) == mode


def test_code_in_a_task_does_not_change_what_is_asked_for() -> None:
    assert mode_named_in("Refactor this:\n```python\n# review: explain and write tests\n```") == "refactor"
