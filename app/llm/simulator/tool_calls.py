"""Which of the offered tools a request has called.

A ``tool_choice`` of "required" or of one name forces a call. Left to itself ("auto", or nothing said) the simulator
calls the tools that the last message of the user names behind "call" or "use": ``call weather``, ``use the weather
tool``. A JSON object behind the name is the arguments (``call weather {"city": "Oslo"}``); without one they are an
example of the tool's schema. Where ``parallel_tool_calls`` is false, only the first is called. Once the last message is
a tool's result, the answer is in words and quotes it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.llm.simulator.example import example_of

_ANY = {"type": "object"}
_BEFORE = r"\b(?:call|use)\s+(?:the\s+)?(?:tool\s+)?[`'\"]?"
_BEHIND = r"(?![\w-])[`'\"]?(?:\s+tool\b)?\s*(?:with\s+)?"
_DECODER = json.JSONDecoder()

Tools = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """``arguments`` is JSON, as it goes over the wire."""

    name: str
    arguments: str


def offered_tools(body: Mapping[str, Any]) -> Tools:
    """The functions by name."""
    return {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}


def is_named(body: Mapping[str, Any]) -> bool:
    """Whether the request names the one tool that must be called; the reason of the answer's end then is "stop"."""
    return isinstance(body.get("tool_choice"), dict)


def calls_of(body: Mapping[str, Any], spoken: str) -> tuple[Call, ...]:
    tools, choice = offered_tools(body), body.get("tool_choice") or "auto"
    if choice == "none" or not tools:
        return ()
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        return (_example_call(name, tools),) if name in tools else ()
    asked = tuple(_asked(spoken, tools)) if body["messages"][-1].get("role") != "tool" else ()
    if choice == "required" and not asked:
        return (_example_call(next(iter(tools)), tools),)
    return asked if body.get("parallel_tool_calls", True) else asked[:1]


def quoted(results: Iterable[str]) -> str:
    """The answer to what tools gave."""
    told = "\n".join(f"> {line}" for result in results for line in result.splitlines() or [""])
    return f"The tool answered:\n\n{told}\n\nSimulated answer: set OPENAI_API_KEY for a real model."


def _asked(spoken: str, tools: Tools) -> Iterator[Call]:
    longest_first: Sequence[str] = sorted(tools, key=len, reverse=True)
    names = "|".join(map(re.escape, longest_first))
    for found in re.finditer(f"{_BEFORE}(?P<name>{names}){_BEHIND}", spoken, re.IGNORECASE):
        name = next(name for name in longest_first if name.lower() == found["name"].lower())
        given = _object_at(spoken, found.end())
        yield _example_call(name, tools) if given is None else Call(name, json.dumps(given))


def _object_at(text: str, start: int) -> dict[str, Any] | None:
    if not text.startswith("{", start):
        return None
    try:
        given, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _example_call(name: str, tools: Tools) -> Call:
    return Call(name, json.dumps(example_of(tools[name].get("parameters") or _ANY)))
