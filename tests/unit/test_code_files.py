"""Which fenced blocks of an answer are files, where they belong, and which paths are refused."""

import string
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.agents.base import OutputFile
from app.agents.code.assignment import Assignment
from app.agents.code.contract import Mode
from app.agents.code.files import Info, files_in, info_of, main_file
from app.agents.code.paths import LONGEST_PATH, MOST_FILES, check_path
from app.llm.errors import AgentOutputInvalid

NAME = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8)
# What the parser looks for, thrown together in every way.
PIECE = st.sampled_from(
    [
        "```",
        "````",
        "~~~",
        "python",
        " path=",
        "a.py",
        "../",
        "/",
        "\\",
        "# path: ",
        "\n",
        "\r\n",
        " ",
        "{",
        ":",
        "é",
        "\0",
    ]
)


def assignment(mode: Mode = Mode.GENERATE, language: str | None = None, *given_files: OutputFile) -> Assignment:
    return Assignment(mode, language, False, None, None, given_files, bool(given_files))


def files(answer: str, mode: Mode = Mode.GENERATE, language: str | None = None) -> list[OutputFile]:
    return files_in(answer, assignment(mode, language))


@pytest.mark.parametrize(
    ("line", "info"),
    [
        ("", Info("", None)),
        ("python", Info("python", None)),
        ("python path=src/app.py", Info("python", "src/app.py")),
        ('python title="app.py"', Info("python", "app.py")),
        ("python:src/app.py", Info("python", "src/app.py")),
        ("python src/app.py", Info("python", "src/app.py")),
        ("{.python filename=app.py}", Info("python", "app.py")),
        ("app.py", Info("", "app.py")),
        ("node.js", Info("node.js", None)),
        ('python title="How it works"', Info("python", None)),
        ("text path=README", Info("text", "README")),
    ],
)
def test_the_line_that_opens_a_fence_names_language_and_path(line: str, info: Info) -> None:
    assert info_of(line) == info


@pytest.mark.parametrize(
    ("body", "path", "content"),
    [
        ("# path: a.py\nx = 1", "a.py", "x = 1\n"),
        ("// file: src/a.py\nx", "src/a.py", "x\n"),
        ("/* filename: a.css */\np {}", "a.css", "p {}\n"),
        ("<!-- path: a.html -->\n<p>", "a.html", "<p>\n"),
        ("-- path: a.sql\nSELECT 1", "a.sql", "SELECT 1\n"),
        ("#!/bin/sh\n# path: a.sh\nls", "a.sh", "#!/bin/sh\nls\n"),
        ("# file: how it is read\nx", "main.py", "# file: how it is read\nx\n"),
    ],
)
def test_a_comment_on_the_first_line_names_the_path_and_is_taken_out(body: str, path: str, content: str) -> None:
    (file,) = files(f"```python\n{body}\n```")

    assert (file.path, file.content) == (path, content)


def test_the_longest_block_is_the_program_when_none_names_a_path() -> None:
    answer = "```bash\npip install x\n```\n\n```python\nimport x\n\nx.run(everything=True)\n```"

    assert [file.language for file in files(answer)] == ["python"]


def test_the_language_comes_from_the_path_when_the_fence_does_not_say_it() -> None:
    (file,) = files("```\n# path: src/app.rs\nfn main() {}\n```")

    assert (file.path, file.language) == ("src/app.rs", "rust")


@pytest.mark.parametrize(
    ("mode", "tag", "path"),
    [
        (Mode.GENERATE, "go", "main.go"),
        (Mode.TEST, "go", "main_test.go"),
        (Mode.TEST, "python", "test_main.py"),
        (Mode.GENERATE, "tsx", "main.tsx"),
        (Mode.GENERATE, "dockerfile", "Dockerfile"),
        (Mode.GENERATE, "cobol", "answer.txt"),
    ],
)
def test_a_file_without_a_path_gets_the_usual_name(mode: Mode, tag: str, path: str) -> None:
    assert files(f"```{tag}\nx\n```", mode)[0].path == path


def test_a_file_that_was_handed_in_and_changed_keeps_its_name() -> None:
    given_file = OutputFile("src/app.py", "x = 1\n", "python")

    (file,) = files_in("```python\nx = 2\n```", assignment(Mode.REFACTOR, "python", given_file))

    assert file.path == "src/app.py"


HOSTILE = [
    "/etc/passwd",
    "../x.py",
    "a/../../x.py",
    "./x.py",
    "a//x.py",
    "C:/x.py",
    "..\\x.py",
    "\\\\host\\x.py",
    "~/x.py",
    "file:///x.py",
    "a/NUL.py",
    "con.txt/x.py",
    ".git/config.py",
    "a./x.py",
    "x.py.",
    "a\u202e/x.py",
    "a\u200b/x.py",
    "a\x7f/x.py",
    "x?.py",
    "a/" * LONGEST_PATH + "x.py",
    "x" * 101 + ".py",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_could_leave_its_folder_or_fool_a_system_is_refused_and_not_quoted(path: str) -> None:
    with pytest.raises(AgentOutputInvalid, match="file 1 of the model's answer has a path that is refused") as caught:
        files(f"```python path={path}\nx = 1\n```")

    assert path not in caught.value.message


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["a.py", "A.py"], "same path"),
        (["caf\u00e9.py", "cafe\u0301.py"], "same path"),
        (["a.py", "a.py/b.py"], "both a file and a folder"),
        ([f"{number}.py" for number in range(MOST_FILES + 1)], f"at most {MOST_FILES}"),
    ],
)
def test_files_that_cannot_stand_beside_each_other_are_refused(paths: list[str], told: str) -> None:
    with pytest.raises(AgentOutputInvalid, match=told):
        files("\n".join(f"```python path={path}\nx = 1\n```" for path in paths))


@pytest.mark.parametrize("answer", ["", "No code.", "```python\nx = 1", "```python\n\n```"])
def test_an_answer_without_a_complete_block_is_refused(answer: str) -> None:
    with pytest.raises(AgentOutputInvalid, match="no complete code block"):
        files(answer)


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(NAME, min_size=1, max_size=4), body=st.text(string.printable.replace("`", ""), min_size=1))
def test_what_a_fence_holds_comes_out_as_it_was(parts: list[str], body: str) -> None:
    path = "/".join([f"d{part}" for part in parts[:-1]] + [f"f{parts[-1]}.py"])
    flat = body.replace("\r", "").replace("~", "")
    lines = flat.split("\n")
    if not flat.strip():
        return

    (file,) = files(f"Text.\n\n```python path={path}\nfirst\n{flat}\n```\nMore.")

    assert (file.path, file.language) == (path, "python")
    assert file.content == "\n".join(["first", *lines]) + "\n"


@settings(max_examples=200, deadline=None)
@given(answer=st.lists(PIECE | st.text(max_size=5), max_size=40).map("".join))
def test_whatever_a_model_writes_gives_safe_paths_or_is_refused(answer: str) -> None:
    try:
        found = files(answer)
    except AgentOutputInvalid:
        return

    assert 1 <= len(found) <= MOST_FILES
    assert main_file(found).content.strip() or all(not file.content.strip() for file in found)
    for file in found:
        assert_stays_below_its_folder(file.path)


@settings(max_examples=300, deadline=None)
@given(path=st.lists(PIECE | NAME | st.text(max_size=3), max_size=8).map("".join))
def test_a_path_that_is_accepted_stays_below_its_folder_on_every_system(path: str) -> None:
    try:
        check_path(path)
    except ValueError:
        return

    assert_stays_below_its_folder(path)


def assert_stays_below_its_folder(path: str) -> None:
    for kind in (PurePosixPath, PureWindowsPath):
        read = kind(path)
        assert not read.is_absolute()
        assert not read.drive
        assert ".." not in read.parts
        assert read.as_posix() == path
