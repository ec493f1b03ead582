import pytest

from app.llm.languages import language_named_in, language_of_tag


@pytest.mark.parametrize(
    ("task", "language"),
    [
        ("Write a Python function to reverse a string", "python"),
        ("Convert this Python to Go", "go"),
        ("Translate the javascript into typescript", "typescript"),
        ("An HTTP server in Go", "go"),
        ("A C++ class", "cpp"),
        ("A C# method", "csharp"),
        ("Write it in C.", "c"),
        ("A node.js app", "javascript"),
        ("A JSON parser in Python", "python"),
        ("Load JSON with Python", "python"),
        ("Write an SQL query", "sql"),
        ("A bash script", "bash"),
        ("Reverse a string in js", "javascript"),
        ("Let's go to the store", None),
        ("Grade C is a pass", None),
        ("I trust rust-free cars", None),
        ("", None),
    ],
)
def test_the_language_a_task_asks_for(task: str, language: str | None) -> None:
    assert language_named_in(task) == language


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("py", "python"),
        ("JS", "javascript"),
        ("c++", "cpp"),
        ("python title='x.py'", "python"),
        ("", None),
        ("x", None),
    ],
)
def test_the_language_behind_a_fence_tag(tag: str, language: str | None) -> None:
    assert language_of_tag(tag) == language
