"""Exceptions as text that holds no payload: types, places and locations, never local variables or inputs.

Messages of our own errors are kept. Others lose whatever they quote, because Python quotes the values it
complains about; libraries that put prompts, answers or inputs into their messages lose the message.
"""

import re
from collections.abc import Iterator, Sequence
from traceback import FrameSummary, StackSummary, extract_tb
from types import TracebackType
from typing import Any

from app.errors import OrchestratorError

MAX_FRAMES = 30
MAX_LINKS = 5
MAX_MESSAGE = 300

CHATTY_PACKAGES = frozenset(
    {
        "fastapi", "httpx", "httpx2", "langchain", "langchain_core", "langchain_openai", "langgraph", "mcp", "openai",
        "pydantic", "pydantic_core", "tavily",
    }
)  # fmt: skip
_QUOTED = re.compile(r"'[^']*'?|\"[^\"]*\"?|`[^`]*`?")


def describe(error: BaseException) -> str:
    """One line: the type, and as much of the message as is known to be harmless."""
    name = type(error).__name__
    message = _message(error)
    return f"{name}: {message}" if message else name


def render(error: BaseException) -> str:
    """The whole story in the order Python prints it: causes first, each with its frames."""
    return "\n".join(part for link in _chain(error) for part in _rendered(*link))


def _message(error: BaseException) -> str:
    if isinstance(error, OrchestratorError):
        return error.message[:MAX_MESSAGE]
    if callable(problems := getattr(error, "errors", None)):
        return _locations(problems)
    if _is_chatty(error):
        status = getattr(error, "status_code", None)
        return f"status {status}" if isinstance(status, int) else ""
    # The first line only: what follows is usually a dump of the value.
    return _QUOTED.sub("'…'", str(error).split("\n", 1)[0][: 4 * MAX_MESSAGE])[:MAX_MESSAGE]


def _locations(problems: Any) -> str:
    try:
        listed = list(problems())[:10]
    except Exception:  # noqa: BLE001 - a foreign method; a log line must not fail on it
        return ""
    return ", ".join(_location(problem) for problem in listed if isinstance(problem, dict))


def _location(problem: dict[str, Any]) -> str:
    place = ".".join(str(part)[:64] for part in problem.get("loc", ()))
    return f"{place} ({problem.get('type', 'invalid')})"


def _is_chatty(error: BaseException) -> bool:
    return package_of(type(error).__module__) in CHATTY_PACKAGES or _raised_in(error.__traceback__) in CHATTY_PACKAGES


def _raised_in(traceback: TracebackType | None) -> str:
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return package_of(traceback.tb_frame.f_globals.get("__name__", ""))


def package_of(module: str) -> str:
    return module.partition(".")[0]


def _chain(error: BaseException) -> Sequence[tuple[BaseException, str]]:
    """The error and what led to it, oldest first, each with the words that link it to the next."""
    links: list[tuple[BaseException, str]] = [(error, "")]
    while len(links) < MAX_LINKS:
        last = links[-1][0]
        if last.__cause__ is not None:
            links.append((last.__cause__, "which caused:"))
        elif last.__context__ is not None and not last.__suppress_context__:
            links.append((last.__context__, "while it was handled:"))
        else:
            break
    return links[::-1]


def _rendered(error: BaseException, link: str) -> Iterator[str]:
    # This reads code positions only; local variables are never looked at.
    frames: StackSummary = extract_tb(error.__traceback__, limit=-MAX_FRAMES)
    yield from (_frame(frame) for frame in frames)
    yield describe(error)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions[:MAX_LINKS]:
            yield "\n".join(f"  | {line}" for line in render(inner).splitlines())
    if link:
        yield link


def _frame(frame: FrameSummary) -> str:
    return f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line}'
