"""What a chat completion request asks for, read out of its JSON."""

import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Any

from app.llm.messages import CORRECTION
from app.llm.simulator.faults import Fault, faults_in, without_directives
from app.llm.simulator.tool_calls import Call, calls_of, is_named

_SOURCE = re.compile(
    r'<source id="(?P<number>\d+)" title="(?P<title>[^"]*)" url="(?P<url>[^"]*)">(?P<text>.*?)</source>', re.DOTALL
)
# What a prompt quotes from an earlier conversation.
_TURNS = re.compile(r"<turns>.*</turns>", re.DOTALL)
# What a prompt quotes from the text it is about.
_PARAGRAPHS = re.compile(r"<paragraphs>.*</paragraphs>", re.DOTALL)
# What a prompt quotes from the output that is judged.
_OUTPUT = re.compile(r"<output>.*</output>", re.DOTALL)
_ABOUT_CODE = re.compile(r"\b(fenced code|code block|programmer|software engineer)\b", re.IGNORECASE)
CHARACTERS_PER_TOKEN = 4  # OpenAI's own rule of thumb for English
_TOKENS_PER_MESSAGE = 4
ROUTER_SCHEMA = "RoutingDecision"
MEMORY_SCHEMA = "ConversationSummary"
PLAN_SCHEMA = "ResearchPlan"
VERDICT_SCHEMA = "SupportVerdict"
REVIEW_SCHEMA = "CodeReview"
RUBRIC_SCHEMA = "RubricVerdict"
TEXT_SCHEMAS = (
    "TextOrder",
    "SentimentAnswer",
    "SummaryAnswer",
    "LabelAnswer",
    "ExtractionAnswer",
    "TranslationAnswer",
)


class Malformed(ValueError):
    """The request is not one a chat completion endpoint understands."""


class Kind(StrEnum):
    """What the caller wants; the `role=` of a fault directive names one of these."""

    ROUTER = "router"
    WRITER = "writer"
    CODER = "coder"
    MEMORY = "memory"
    PLANNER = "planner"
    CHECKER = "checker"
    REVIEWER = "reviewer"
    JUDGE = "judge"
    TEXT = "text"
    STRUCTURED = "structured"
    TOOL = "tool"
    SEARCH = "search"


_KIND_OF_SCHEMA = {
    ROUTER_SCHEMA: Kind.ROUTER,
    MEMORY_SCHEMA: Kind.MEMORY,
    PLAN_SCHEMA: Kind.PLANNER,
    VERDICT_SCHEMA: Kind.CHECKER,
    REVIEW_SCHEMA: Kind.REVIEWER,
    RUBRIC_SCHEMA: Kind.JUDGE,
    **dict.fromkeys(TEXT_SCHEMAS, Kind.TEXT),
}


@dataclass(frozen=True, slots=True)
class Source:
    number: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """``corrections`` counts the messages that say why an earlier answer was refused; they are not the task.

    ``history`` is what was said before the task, by role, without the instructions. ``calls`` are those of tools that
    the answer has to make, and ``results`` what tools gave for the calls before.
    """

    model: str
    kind: Kind
    system: str
    task: str
    sources: tuple[Source, ...]
    schema: Mapping[str, Any]
    calls: tuple[Call, ...]
    max_tokens: int | None
    stream: bool
    stream_usage: bool
    faults: tuple[Fault, ...]
    digest: str
    prompt: str
    corrections: int
    history: tuple[tuple[str, str], ...] = ()
    results: tuple[str, ...] = ()
    is_tool_named: bool = False

    @property
    def prompt_tokens(self) -> int:
        return tokens_in(self.prompt) + _TOKENS_PER_MESSAGE


def read_conversation(body: Any) -> Conversation:
    """Raises `Malformed` for what a real endpoint would answer with 400, and `UnknownFault`."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise Malformed("you must provide a model parameter")
    if body.get("n") not in {None, 1}:
        raise Malformed("n must be 1: the simulator gives one answer")
    try:
        return _read(body)
    except (LookupError, TypeError, AttributeError) as error:
        raise Malformed("the request is not one of this endpoint") from error


def tokens_in(text: str | None) -> int:
    """Plausible, not exact."""
    return -(-len(text or "") // CHARACTERS_PER_TOKEN)


def _read(body: Mapping[str, Any]) -> Conversation:
    messages = _messages(body)
    system = "\n".join(text for role, text in messages if role in {"system", "developer"})
    said = [text for role, text in messages if role == "user"]
    history, last = _before_and_last(messages)
    # A source is somebody else's page, and a turn was answered before: what they quote is no order to the simulator.
    spoken = _OUTPUT.sub("", _PARAGRAPHS.sub("", _TURNS.sub("", _SOURCE.sub("", last))))
    name, schema = _schema(body)
    calls = calls_of(body, spoken)
    return Conversation(
        model=body["model"],
        kind=Kind.TOOL if calls else _kind(name, schema, system),
        system=system,
        task=without_directives(_task(spoken)),
        sources=tuple(_sources(last)),
        schema=schema,
        calls=calls,
        max_tokens=_most_tokens(body),
        stream=bool(body.get("stream")),
        stream_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        faults=faults_in(spoken),
        digest=_digest(body),
        prompt="\n".join(text for _, text in messages),
        corrections=sum(text.startswith(CORRECTION) for text in said),
        history=history,
        results=_results(messages),
        is_tool_named=is_named(body),
    )


def _most_tokens(body: Mapping[str, Any]) -> int | None:
    given = body.get("max_completion_tokens") or body.get("max_tokens")
    return None if given is None else int(given)


def _results(messages: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """What the tools answered to the last calls; nothing once somebody has spoken after them."""
    last = takewhile(lambda message: message[0] == "tool", reversed(messages))
    return tuple(reversed([text for _, text in last]))


def _before_and_last(messages: Sequence[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], str]:
    """What was said before the last message of the user that is no correction, and that message."""
    said = [(role, text) for role, text in messages if role in {"user", "assistant"}]
    places = [at for at, (role, text) in enumerate(said) if role == "user" and not text.startswith(CORRECTION)]
    return (tuple(said[: places[-1]]), said[places[-1]][1]) if places else ((), "")


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


def _kind(name: str, schema: Mapping[str, Any], system: str) -> Kind:
    if schema:
        known = (_KIND_OF_SCHEMA.get(one) for one in (name, str(schema.get("title"))))
        return next((kind for kind in known if kind), Kind.STRUCTURED)
    return Kind.CODER if _ABOUT_CODE.search(system) else Kind.WRITER


def _digest(body: Mapping[str, Any]) -> str:
    """The same for a conversation before and after a correction: it is still about the same task."""
    messages = [message for message in body["messages"] if not _text(message.get("content")).startswith(CORRECTION)]
    return hashlib.sha256(json.dumps({**body, "messages": messages}, sort_keys=True).encode()).hexdigest()
