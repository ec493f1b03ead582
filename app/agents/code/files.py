"""The files in a model's answer: which fenced blocks are files, where they belong, and what they are written in."""

import re
from dataclasses import dataclass

from app.agents.base import OutputFile
from app.agents.code.assignment import Assignment
from app.agents.code.names import default_name
from app.agents.code.paths import check_path, check_together
from app.agents.markdown import CodeBlock, code_blocks
from app.llm.errors import AgentOutputInvalid
from app.llm.languages import language_of_path, language_of_tag

_KEYS = frozenset({"path", "file", "filename", "title", "name"})
_MARKER = re.compile(r"\s*(?:#|//|--|;|%|/\*+|<!--)\s*(?:path|file|filename)\s*[:=]\s*", re.IGNORECASE)
_QUOTES = "\"'`"
_COMES_FIRST = ("#!", "<?php", "<!doctype", "<?xml")


@dataclass(frozen=True, slots=True)
class Info:
    """What the line that opens a fence says."""

    tag: str
    path: str | None


def files_in(answer: str, assignment: Assignment) -> list[OutputFile]:
    """The blocks that name a path; when none does, the longest block, under the usual name of its language.

    Other blocks are how to install or call it. Raises `AgentOutputInvalid` when there is no complete block, and for
    paths that are unsafe, repeated or too many; the message quotes none.
    """
    blocks = code_blocks(answer)
    if not blocks:
        raise AgentOutputInvalid("the model's answer has no complete code block")
    files = [file for file in (_named(block) for block in blocks) if file is not None]
    files = files or [_unnamed(max(blocks, key=lambda block: len(block.body)), assignment)]
    for number, file in enumerate(files, start=1):
        _check(number, file)
    try:
        check_together(file.path for file in files)
    except ValueError as error:
        raise AgentOutputInvalid(f"the files of the model's answer do not fit together: {error}") from None
    return files


def main_file(files: list[OutputFile]) -> OutputFile:
    return max(files, key=lambda file: len(file.content))


def info_of(line: str) -> Info:
    """Reads ``python``, ``python path=a.py``, ``python title="a.py"``, ``python:a.py``, ``python a.py``, ``a.py``."""
    first, *rest = line.strip().strip("{}").split() or [""]
    tag, colon, behind = first.partition(":")
    if colon and behind and language_of_tag(tag):
        return Info(tag, behind)
    # A known tag comes before a path: "node.js" is a language.
    path = _path_in(rest)
    if language_of_tag(first) is None and language_of_path(first) is not None and "." in first.strip("."):
        return Info("", first.strip(_QUOTES))
    return Info(first.lstrip("."), path)


def _path_in(words: list[str]) -> str | None:
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key.lower() in _KEYS and (key.lower() == "path" or _looks_like_path(value)):
            return value.strip(_QUOTES)
        if not equals and _looks_like_path(word):
            return word.strip(_QUOTES)
    return None


def _looks_like_path(word: str) -> bool:
    bare = word.strip(_QUOTES)
    return "/" in bare or "\\" in bare or ("." in bare and language_of_path(bare) is not None)


def _named(block: CodeBlock) -> OutputFile | None:
    info = info_of(block.tag)
    marked, body = _marked(block.body)
    path = info.path or marked
    if path is None:
        return None
    return OutputFile(path, f"{body}\n", language_of_tag(info.tag) or language_of_path(path))


def _marked(body: str) -> tuple[str | None, str]:
    """The path in a comment on the first line, or on the second when something else has to be first; and the rest."""
    lines = body.split("\n")
    at = 1 if body.lower().startswith(_COMES_FIRST) and len(lines) > 1 else 0
    marker = _MARKER.match(lines[at])
    path = lines[at][marker.end() :].strip().removesuffix("*/").removesuffix("-->").strip() if marker else ""
    # "# file: how it is read" is a comment like any other.
    if not path or len(path.split()) > 1 or not _looks_like_path(path):
        return None, body
    return path.strip(_QUOTES), "\n".join(lines[:at] + lines[at + 1 :])


def _unnamed(block: CodeBlock, assignment: Assignment) -> OutputFile:
    tag = info_of(block.tag).tag
    language = language_of_tag(tag) or assignment.language or assignment.hint
    path = assignment.path_for(language) or default_name(language, tag, assignment.mode)
    return OutputFile(path, f"{block.body}\n", language)


def _check(number: int, file: OutputFile) -> None:
    try:
        check_path(file.path)
    except ValueError as error:
        raise AgentOutputInvalid(f"file {number} of the model's answer has a path that is refused: {error}") from None
