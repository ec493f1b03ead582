"""The programs that a shell example calls, and whether `orchestrate` would take their arguments."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from typer.main import get_command

from app.cli.main import app

_OPERATORS = "();<>|&\n"
_ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#(?:\s.*)?$")
_SERVER = re.compile(r"https?://[^/]+|\$\{?\w+\}?")
_OURS = re.compile(r"/(v1|health|metrics)\b")
_WITH_VALUE = {
    "-X",
    "--request",
    "-d",
    "--data",
    "--json",
    "-H",
    "--header",
    "-o",
    "--output",
    "-m",
    "--max-time",
    "-w",
}


@dataclass(frozen=True, slots=True)
class Call:
    program: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Curl:
    method: str
    path: str
    body: str | None


def calls(script: str) -> Iterator[Call]:
    """Each program that is called, with its arguments; assignments before it and paths to it are left out."""
    words: list[str] = []
    for token in [*_tokens(script), "\n"]:
        if not set(token) <= set(_OPERATORS):
            words.append(token)
            continue
        command = _without_assignments(words)
        words = []
        if command:
            yield Call(command[0].rpartition("/")[2], tuple(command[1:]))


def _tokens(script: str) -> list[str]:
    text = _COMMENT.sub("", script.replace("\\\n", " "))
    lexer = shlex.shlex(re.sub(r"(?m)^\$ ", "", text), posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    return list(lexer)


def _without_assignments(words: list[str]) -> list[str]:
    start = next((place for place, word in enumerate(words) if not _ASSIGNMENT.fullmatch(word)), len(words))
    return words[start:]


def curl_of(call: Call) -> Curl | None:
    """The request, None when it goes elsewhere than to our API."""
    options, rest = _options(call.arguments)
    for word in rest:
        path = urlsplit(_SERVER.sub("", word, count=1)).path
        if _OURS.match(path):
            body = options.get("-d") or options.get("--data") or options.get("--json")
            method = options.get("-X") or options.get("--request") or ("POST" if body else "GET")
            return Curl(method, path, body)
    return None


def _options(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            options[word] = next(words, "")
        elif not word.startswith("-"):
            rest.append(word)
    return options, rest


def usage_error(arguments: Sequence[str]) -> str | None:
    """What is wrong with `orchestrate ARGUMENTS`, without running anything."""
    command: Any = get_command(app)
    name, rest = "orchestrate", list(arguments)
    while True:
        try:
            context = command.make_context(name, rest, resilient_parsing=False)
            if not hasattr(command, "commands"):
                return None
            name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        except SystemExit:
            return None
        except Exception as error:  # noqa: BLE001 - the parser's classes are not public
            kind = type(error).__name__
            return None if kind == "Exit" else f"{kind}: {getattr(error, 'message', error)}"
