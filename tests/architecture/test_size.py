"""Nothing grows past reading."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import ROOT, modules

MOST_LINES_OF_A_FUNCTION = 40
MOST_LINES_OF_A_MODULE = 400
FOLDERS = ("app", "worker", "tests")


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_no_function_is_longer_than_forty_lines() -> None:
    too_long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name} has {_length(function)} lines"
        for path in modules(*FOLDERS)
        for function in _functions(path)
        if _length(function) > MOST_LINES_OF_A_FUNCTION
    ]

    assert not too_long, "\n".join(["split these by what they decide and what they do:", *too_long])


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules(*FOLDERS)}

    too_long = [
        f"{path.relative_to(ROOT)} has {lines} lines"
        for path, lines in lengths.items()
        if lines > MOST_LINES_OF_A_MODULE
    ]
    assert not too_long, "\n".join(["split these by use case:", *too_long])
