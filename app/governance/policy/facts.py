"""The facts that conditions may ask for: one table says what each is, for which kinds, and how large it may be.

A fact that is not known, or that is larger than its bound, has no value. A condition that needs it cannot be
evaluated then, and what cannot be decided is denied.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.governance.policy.models import FactKind

LARGEST_INTEGER = 2**63 - 1
LONGEST_LIST = 500
_KIB = 1024
# What CEL would cut off or take for another type: zero characters, halves of pairs, and integers beyond 64 bits.
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_SUSPICIOUS = re.compile(r"\\u0000|\\u[dD][89a-fA-F]|\d{19}")

_TASK, _STEP, _TOOL = FactKind.TASK, FactKind.STEP, FactKind.TOOL
_WORK = frozenset({_TASK, _STEP})
_ALL = frozenset(FactKind)


class FactType(StrEnum):
    """As conditions see a fact."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXTS = "list of texts"
    OBJECT = "object"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Fact:
    """``largest`` is in bytes of JSON."""

    type: FactType
    kinds: frozenset[FactKind]
    told: str
    largest: int = _KIB


FACTS: Mapping[str, Fact] = {
    "task.id": Fact(FactType.TEXT, frozenset({_TASK}), "The task's id."),
    "task.text": Fact(FactType.TEXT, frozenset({_TASK}), "What is to be done, in words.", 256 * _KIB),
    "task.text_length": Fact(FactType.INTEGER, frozenset({_TASK}), "Characters of the text."),
    "task.priority": Fact(FactType.INTEGER, frozenset({_TASK}), "As it was submitted."),
    "task.attempt": Fact(FactType.INTEGER, frozenset({_TASK}), "Number of the attempt, from 1."),
    "task.session_id": Fact(FactType.TEXT, frozenset({_TASK}), "The session it belongs to."),
    "task.requested_agent": Fact(FactType.TEXT, frozenset({_TASK}), "The agent that its client named; else empty."),
    "task.inputs": Fact(FactType.TEXTS, frozenset({_TASK}), "Names of its typed inputs.", 16 * _KIB),
    "task.metadata": Fact(FactType.OBJECT, frozenset({_TASK}), "As it was submitted.", 64 * _KIB),
    "step.execution_id": Fact(FactType.TEXT, frozenset({_STEP}), "The execution it belongs to."),
    "step.workflow": Fact(FactType.TEXT, frozenset({_STEP}), "Name of the workflow."),
    "step.path": Fact(FactType.TEXT, frozenset({_STEP}), "As in `review[2].fix`.", 4 * _KIB),
    "step.kind": Fact(FactType.TEXT, frozenset({_STEP}), "`agent`, `task`, `command`, `evaluate` and so on."),
    "step.attempt": Fact(FactType.INTEGER, frozenset({_STEP}), "Number of the attempt, from 1."),
    "step.input": Fact(FactType.OBJECT, frozenset({_STEP}), "What the step is given.", 128 * _KIB),
    "agent.name": Fact(FactType.TEXT, _ALL, "The agent at work; empty for steps without one."),
    "tool.name": Fact(FactType.TEXT, frozenset({_TOOL}), "As in `mcp.files.write`."),
    "tool.side_effect": Fact(FactType.TEXT, frozenset({_TOOL}), "`none`, or `external`: it changes something outside."),
    "tool.arguments": Fact(FactType.OBJECT, frozenset({_TOOL}), "What it is called with, checked.", 128 * _KIB),
    "tool.argument_bytes": Fact(FactType.INTEGER, frozenset({_TOOL}), "Length of the arguments as JSON."),
    "tool.used_by": Fact(FactType.TEXT, frozenset({_TOOL}), "`task` or `step`."),
    "scores.available": Fact(FactType.BOOLEAN, _WORK, "Whether the work was scored."),
    "scores.feasibility": Fact(FactType.NUMBER, _WORK, "From 0 to 1."),
    "scores.alignment": Fact(FactType.NUMBER, _WORK, "From 0 to 1."),
    "scores.risk": Fact(FactType.NUMBER, _WORK, "From 0 to 1."),
    "scores.cost": Fact(FactType.NUMBER, _WORK, "From 0 to 1."),
    "tenant.id": Fact(FactType.TEXT, _ALL, "Whose work it is."),
    "caller.key_id": Fact(FactType.TEXT, _ALL, "The key that asked for the work; empty when none did."),
    "spend.usd": Fact(FactType.NUMBER, _ALL, "What earlier attempts came to, in US dollars by list price."),
    "spend.tokens": Fact(FactType.INTEGER, _ALL, "Tokens of earlier attempts."),
    "spend.model_calls": Fact(FactType.INTEGER, _ALL, "Model calls of earlier attempts."),
    "time.now": Fact(FactType.TIME, _ALL, "Of the store's clock."),
    "time.hour": Fact(FactType.INTEGER, _ALL, "From 0 to 23, UTC."),
    "time.weekday": Fact(FactType.INTEGER, _ALL, "From 1, Monday, to 7, UTC."),
}
GROUPS = tuple(dict.fromkeys(name.partition(".")[0] for name in FACTS))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one subject; ``values`` are by full name, as in `task.priority`."""

    kind: FactKind
    values: Mapping[str, Any]

    @classmethod
    def of(cls, kind: FactKind, values: Mapping[str, Any]) -> "Facts":
        """Without those that a condition could not be shown as they are."""
        return cls(kind, {name: value for name, value in values.items() if is_shown(FACTS[name], value)})


def time_facts(now: datetime) -> dict[str, Any]:
    at = now.astimezone(UTC)
    return {"time.now": at, "time.hour": at.hour, "time.weekday": at.isoweekday()}


def is_shown(fact: Fact, value: Any) -> bool:
    """Whether the value is of the fact's type, within its bound, and the same thing for CEL."""
    match fact.type:
        case FactType.TEXT:
            return isinstance(value, str) and len(value) <= fact.largest and not _UNREADABLE.search(value)
        case FactType.INTEGER:
            return type(value) is int and -LARGEST_INTEGER - 1 <= value <= LARGEST_INTEGER
        case FactType.NUMBER:
            return type(value) is float
        case FactType.BOOLEAN:
            return type(value) is bool
        case FactType.TIME:
            return isinstance(value, datetime) and value.tzinfo is not None
        case FactType.TEXTS:
            return isinstance(value, list) and all(isinstance(one, str) for one in value) and _is_plain(value, fact)
        case FactType.OBJECT:
            return isinstance(value, dict) and _is_plain(value, fact)


def read_facts(kind: FactKind, document: Mapping[str, Any]) -> tuple[Facts, list[tuple[tuple[str, ...], str]]]:
    """Facts as people write them, `{"task": {"priority": 5}}`, and what is wrong with them, each with its place."""
    values: dict[str, Any] = {}
    problems: list[tuple[tuple[str, ...], str]] = []
    for path, name, value in _members(document, problems):
        fact = FACTS.get(name)
        if fact is None or kind not in fact.kinds:
            known = ", ".join(other for other, one in FACTS.items() if kind in one.kinds)
            problems.append((path, f"a {kind} has no fact {name[:80]!r}; there are {known}"))
            continue
        converted = _converted(fact, value)
        if is_shown(fact, converted):
            values[name] = converted
        else:
            problems.append((path, f"it is no {fact.type} of at most {fact.largest} bytes"))
    return Facts(kind, values), problems


def _members(
    document: Mapping[str, Any], problems: list[tuple[tuple[str, ...], str]]
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    for group, members in document.items():
        if not isinstance(members, dict):
            problems.append(((group,), f"facts stand in groups: {', '.join(GROUPS)}"))
            continue
        for member, value in members.items():
            yield (group, member), f"{group}.{member}", value


def _converted(fact: Fact, value: Any) -> Any:
    if fact.type is FactType.NUMBER and type(value) is int:
        return float(value)
    if fact.type is FactType.TIME and isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def _is_plain(value: Any, fact: Fact) -> bool:
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return False
    return len(text) <= fact.largest and not _SUSPICIOUS.search(text) and _longest_in(value) <= LONGEST_LIST


def _longest_in(value: Any) -> int:
    longest, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            longest = max(longest, len(part))
            waiting.extend(part.values())
        elif isinstance(part, list):
            longest = max(longest, len(part))
            waiting.extend(part)
    return longest
