"""What a chat completion request asks for, read out of its JSON."""

import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.llm.messages import CORRECTION
from app.llm.simulator.faults import Fault, faults_in, without_directives

_SOURCE = re.compile(
    r'<source id="(?P<number>\d+)" title="(?P<title>[^"]*)" url="(?P<url>[^"]*)">(?P<text>.*?)</source>', re.DOTALL
)
_ABOUT_CODE = re.compile(r"\b(fenced code|code block|programmer|software engineer)\b", re.IGNORECASE)
ROUTER_SCHEMA = "RoutingDecision"


class Malformed(ValueError):
    """The request is not one a chat completion endpoint understands."""


class Kind(StrEnum):
    """What the caller wants; the `role=` of a fault directive names one of these."""

    ROUTER = "router"
    WRITER = "writer"
    CODER = "coder"
    STRUCTURED = "structured"
    TOOL = "tool"
    SEARCH = "search"


@dataclass(frozen=True, slots=True)
class Source:
    number: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """``corrections`` counts the messages that say why an earlier answer was refused; they are not the task."""

    model: str
    kind: Kind
    system: str
    task: str
    sources: tuple[Source, ...]
    schema: Mapping[str, Any]
    tool: str | None
    max_tokens: int | None
    stream: bool
    stream_usage: bool
    faults: tuple[Fault, ...]
    digest: str
    prompt: str
    corrections: int


def read_conversation(body: Any) -> Conversation:
    """Raises `Malformed` for what a real endpoint would answer with 400."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise Malformed("you must provide a model parameter")
    messages = _messages(body)
    system = "\n".join(text for role, text in messages if role in {"system", "developer"})
    said = [text for role, text in messages if role == "user"]
    last = next((text for text in reversed(said) if not text.startswith(CORRECTION)), "")
    # A source is somebody else's page: a directive quoted in it is no order to the simulator.
    spoken = _SOURCE.sub("", last)
    tool, tool_schema = _forced_tool(body)
    name, schema = _schema(body)
    return Conversation(
        model=body["model"],
        kind=_kind(tool, name, schema, system),
        system=system,
        task=without_directives(_task(spoken)),
        sources=tuple(_sources(last)),
        schema=tool_schema or schema,
        tool=tool,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stream=bool(body.get("stream")),
        stream_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        faults=faults_in(spoken),
        digest=_digest(body),
        prompt="\n".join(text for _, text in messages),
        corrections=sum(text.startswith(CORRECTION) for text in said),
    )


def _messages(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Malformed("messages must be a non-empty array")
    return [_message(message) for message in messages]


def _message(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise Malformed("every message needs a role")
    return message["role"], _text(message.get("content"))


def _text(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")


def _task(spoken: str) -> str:
    """What stands between the writer's task tags; a prompt without them is the task as a whole."""
    marked = spoken.partition("<task>")[2].rpartition("</task>")[0]
    return marked.strip() or spoken


def _sources(message: str) -> list[Source]:
    return [
        Source(int(found["number"]), html.unescape(found["title"]), html.unescape(found["text"]).strip())
        for found in _SOURCE.finditer(message)
    ]


def _schema(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        return "", {"type": "object"}
    described = wanted.get("json_schema") or {}
    return str(described.get("name", "")), described.get("schema") or {}


def _forced_tool(body: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}
    name = _tool_choice(body.get("tool_choice"), list(tools))
    return (name, tools[name].get("parameters") or {"type": "object"}) if name else (None, {})


def _tool_choice(choice: Any, tools: Sequence[str]) -> str | None:
    """The tool that must be called; left to itself ("auto") the simulator answers in words."""
    name = choice["function"]["name"] if isinstance(choice, dict) else None
    if choice == "required" and tools:
        return tools[0]
    return name if name in tools else None


def _kind(tool: str | None, name: str, schema: Mapping[str, Any], system: str) -> Kind:
    if tool:
        return Kind.TOOL
    if schema:
        return Kind.ROUTER if ROUTER_SCHEMA in {name, schema.get("title")} else Kind.STRUCTURED
    return Kind.CODER if _ABOUT_CODE.search(system) else Kind.WRITER


def _digest(body: Mapping[str, Any]) -> str:
    """The same for a conversation before and after a correction: it is still about the same task."""
    messages = [message for message in body["messages"] if not _text(message.get("content")).startswith(CORRECTION)]
    return hashlib.sha256(json.dumps({**body, "messages": messages}, sort_keys=True).encode()).hexdigest()
