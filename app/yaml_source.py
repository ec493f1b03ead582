"""YAML 1.2 and JSON texts to data with places. What can harm or surprise is refused: see `read_yaml`."""

import math
import re
from typing import Any

import yaml

from app.json_source import NotJson, read_json
from app.source_tree import Fault, Limits, SourceInvalid, SourceTree, TreeBuilder, integer_of

# The C parser is twenty times as fast; it is in every wheel, but not in every build.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE = re.compile(r"\r\n|\n|\r")
# The core schema of YAML 1.2: `on` and `yes` are texts, and so are dates and 12:30.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {name: value for value in (True, False) for name in (str(value), str(value).lower(), str(value).upper())}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class NotYaml(SourceInvalid):
    """It breaks the grammar of YAML."""


def text_of(data: bytes, limits: Limits) -> str:
    """Raises `SourceInvalid` when it is too large or not UTF-8."""
    _check_size(len(data), limits)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceInvalid(Fault(line, 1, (), "it is not UTF-8 text", "save it as UTF-8")) from error


def read_yaml(text: str, limits: Limits) -> SourceTree:
    """One document. Raises `SourceInvalid`.

    Refused are anchors, aliases, tags, merge keys, keys that are there twice or no texts, numbers that JSON does not
    have, and texts that cannot be stored. Nothing is built before the limits were looked at.
    """
    _check_size(len(text), limits)
    text = text.removeprefix("\ufeff")
    failure: NotJson | None = None
    if text.lstrip()[:1] in ("{", "["):
        try:
            return read_json(text, limits)
        except NotJson as error:
            failure = error
    try:
        return _read_events(text, limits)
    except NotYaml as error:
        raise _further(failure, error) from error


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.size:
        raise SourceInvalid(Fault(1, 1, (), f"it is larger than {limits.size} bytes", "split it"))


def _further(as_json: NotJson | None, as_yaml: NotYaml) -> SourceInvalid:
    """Of two readings of a text, the one that got on tells what is wrong."""
    if as_json is None:
        return as_yaml
    return max(as_json, as_yaml, key=lambda error: (error.faults[0].line, error.faults[0].column))


def _read_events(text: str, limits: Limits) -> SourceTree:
    _check_characters(text, limits)
    builder = TreeBuilder(limits)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise SourceInvalid(Fault(*_place(event), (), "there is a second document", "write one to a file"))
            _take(builder, event)
    except yaml.YAMLError as error:
        raise NotYaml(_syntax(error, text)) from error
    return builder.tree()


def _check_characters(text: str, limits: Limits) -> None:
    if found := _UNREADABLE.search(text):
        lines = [0, *(end.end() for end in _LINE.finditer(text, 0, found.start()))]
        message = f"the character U+{ord(found[0]):04X} cannot be in a document"
        raise SourceInvalid(Fault(len(lines), found.start() - lines[-1] + 1, (), message, "remove it"))
    _check_size(len(text.encode()), limits)


def _take(builder: TreeBuilder, event: Any) -> None:
    _refuse_indirection(builder, event)
    match event:
        case yaml.MappingStartEvent():
            builder.begin({}, *_place(event))
        case yaml.SequenceStartEvent():
            builder.begin([], *_place(event))
        case yaml.CollectionEndEvent():
            builder.end()
        case yaml.ScalarEvent():
            builder.scalar(_resolved(event), *_place(event))
        case yaml.AliasEvent():
            builder.scalar("", *_place(event))


def _refuse_indirection(builder: TreeBuilder, event: Any) -> None:
    if isinstance(event, yaml.AliasEvent):
        return builder.fault(*_place(event), f"aliases are not allowed: *{event.anchor}"[:100], "write it out")
    if getattr(event, "anchor", None):
        builder.fault(*_place(event), f"anchors are not allowed: &{event.anchor}"[:100], "leave it out")
    if getattr(event, "tag", None):
        builder.fault(*_place(event), f"tags are not allowed: {event.tag}"[:100], "leave it out")
    if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
        builder.fault(*_place(event), "merge keys are not allowed", "write the members out")
    return None


def _resolved(event: yaml.ScalarEvent) -> Any:
    # The first says that the text stands there plainly, without quotes.
    return _of_core_schema(event.value) if event.implicit[0] else event.value


def _of_core_schema(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return integer_of(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _NOT_FINITE.fullmatch(text):
        return math.inf
    return float(text) if _FLOAT.fullmatch(text) else text


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _syntax(error: yaml.YAMLError, text: str) -> Fault:
    mark = getattr(error, "problem_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines() or [""]
    if line > len(lines):
        # The parser means the end, which it sees on a line that is not there.
        line, column = len(lines), len(lines[-1]) + 1
    problem = str(getattr(error, "problem", None) or "it cannot be read")
    return Fault(line, column, (), f"it is not YAML: {problem}", _SYNTAX_FIXES.get(problem))


_SYNTAX_FIXES = {
    "found a tab character that violates indentation": "indent with spaces",
    "found character that cannot start any token": "put the text in quotes, and indent with spaces",
    "mapping values are not allowed in this context": "put a text that holds ': ' in quotes, or mend the indentation",
    "could not find expected ':'": "write ': ' after the key",
    "did not find expected key": "put keys of a mapping at the same indentation",
}
