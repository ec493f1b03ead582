"""Evaluates the expressions of a workflow. Values go in and come out as plain JSON, and messages never hold one."""

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cel_expr_python import cel

from app.expressions.compiling import Compiled, ExpressionInvalid
from app.expressions.cost import Extent, cost_of
from app.expressions.failures import reason_of
from app.expressions.references import Path, Wanted, shown
from app.workflows.language.compiling import LARGEST_BOUND, LOOP, MOST_WORK, compile_expression
from app.workflows.language.templates import Template, TemplateInvalid, parse_template
from app.workflows.view import Ended, ExpressionFailed, View

MOST_COMPILED = 1024
LARGEST_RESULT = 1024 * 1024
# Of the values that one expression computes with. What is only named is handed on whatever its size.
LARGEST_DATA = 4 * 1024 * 1024
_LARGEST_INTEGER = 2**63 - 1
_SHOWN = 80
# What CEL would cut off or take for another type: zero characters, and integers beyond 64 bits.
_SUSPICIOUS = re.compile(r"\\u0000|\d{19}")


class Expressions:
    """Implements `app.workflows.view.Values`. Compiled expressions are kept, the most recent ones."""

    def __init__(self) -> None:
        self._compile = functools.lru_cache(MOST_COMPILED)(compile_expression)
        self._parse = functools.lru_cache(MOST_COMPILED)(parse_template)

    def evaluate(self, expression: str, view: View) -> Any:
        try:
            return self._value(expression, _Seen(view))
        except ExpressionInvalid as error:
            raise _failed(expression, error.message) from error

    def render(self, template: Any, view: View) -> Any:
        """The JSON value with every `${{ }}` in its texts replaced."""
        return self._rendered(template, _Seen(view))

    def _rendered(self, value: Any, seen: "_Seen") -> Any:
        if isinstance(value, str):
            return self._text(value, seen) if "${{" in value else value
        if isinstance(value, Mapping):
            return {key: self._rendered(part, seen) for key, part in value.items()}
        if isinstance(value, list):
            return [self._rendered(part, seen) for part in value]
        return value

    def _text(self, text: str, seen: "_Seen") -> Any:
        try:
            template: Template = self._parse(text)
            if (whole := template.whole) is not None:
                return self._value(whole.expression, seen)
            parts = [
                part if isinstance(part, str) else as_text(self._value(part.expression, seen))
                for part in template.parts
            ]
        except (ExpressionInvalid, TemplateInvalid) as error:
            raise _failed(text, error.message) from error
        if sum(map(len, parts)) > LARGEST_RESULT + len(text):
            raise _failed(text, f"the text has more than {LARGEST_RESULT} characters")
        return "".join(parts)

    def _value(self, expression: str, seen: "_Seen") -> Any:
        compiled = self._compile(expression.strip(), frozenset(seen.extras.keys() - {"loop"}))
        if compiled.named is not None:
            return seen.get(compiled.named)
        data = seen.pick(compiled.wanted)
        _check_data(compiled, data, seen)
        try:
            result = compiled.program.eval(data={LOOP if name == "loop" else name: one for name, one in data.items()})
            if result.type() == cel.Type.ERROR:
                raise seen.missing(compiled) or _failed(expression, reason_of(str(result.value())))
            return _plain(expression, result.plain_value())
        except TypeError as error:
            # Only an optional has no value in Python.
            raise _failed(expression, "it gives an optional; end it with `.orValue(…)`") from error
        except RuntimeError as error:
            raise _failed(expression, reason_of(str(error))) from error


class _Seen:
    """What one view holds, by reference."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.extras = view.extras()

    def get(self, path: Path) -> Any:
        """Raises `ExpressionFailed`, which names the first part of the path that is not there."""
        value: Any = self._roots(path)
        for depth, part in enumerate(path):
            if value is None and _is_nullable(path[:depth]):
                return None
            if not _has(value, part):
                raise ExpressionFailed(_not_there(path, depth, value))
            value = value[part]
        return value

    def is_object(self, path: Path) -> bool:
        try:
            return isinstance(self.get(path), Mapping)
        except ExpressionFailed:
            return False

    def pick(self, wanted: Wanted) -> dict[str, Any]:
        """The parts of the values that are wanted, as far as they are there."""
        found = {}
        for name, one in wanted.parts.items():
            roots = self._roots((name, *one.parts))
            if name in roots:
                found[str(name)] = _picked(roots[name], one, (name,))
        return found

    def missing(self, compiled: Compiled) -> ExpressionFailed | None:
        """Why a reference of the expression has no value, if that is so."""
        for reference in compiled.references:
            if not reference.is_test:
                try:
                    self.get(reference.path)
                except ExpressionFailed as failure:
                    return failure
        return None

    def _roots(self, path: Path) -> Mapping[Any, Any]:
        """All that ``path`` may begin with; of the steps those in the path."""
        constants = {**self._view.constants, **self.extras}
        if path[0] != "steps":
            return constants
        ended = {part: self._view.lookup(part) for part in path[1:] if isinstance(part, str)}
        return {**constants, "steps": {name: _as_seen(one) for name, one in ended.items() if one is not None}}


def _as_seen(ended: Ended) -> dict[str, Any]:
    error = asdict(ended.error) if ended.error else None
    return {"output": ended.output, "status": ended.end.value, "error": error, "attempts": ended.attempts}


def _is_nullable(path: Path) -> bool:
    """Where null has parts that are null: the output of a step that was skipped, and the round before the first."""
    is_output = len(path) == 3 and path[0] == "steps" and path[2] in ("output", "error")
    return is_output or path in (("loop", "previous"), ("run", "error"))


def _has(value: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(value, list) and 0 <= part < len(value)
    return isinstance(value, Mapping) and part in value


def _picked(value: Any, wanted: Wanted, path: Path) -> Any:
    if wanted.is_whole:
        return value
    if value is None and _is_nullable(path):
        return _nulls(wanted)
    if not isinstance(value, Mapping):
        return value
    return {part: _picked(value[part], one, (*path, part)) for part, one in wanted.parts.items() if part in value}


def _nulls(wanted: Wanted) -> Any:
    """What is asked for below null, except what the expression asks whether it is there."""
    if wanted.is_whole:
        return None
    return {part: _nulls(one) for part, one in wanted.parts.items() if not one.is_tested}


def _not_there(path: Path, depth: int, value: Any) -> str:
    reference, before = shown(path[: depth + 1]), shown(path[:depth])
    if depth == 1 and path[0] == "steps":
        return f"`{reference}` has no value: the step has not ended, or there is none"
    if depth == 0:
        return f"`{reference}` is not there"
    if isinstance(path[depth], int):
        held = f"a list of {len(value)}" if isinstance(value, list) else _type_of(value)
        return f"`{reference}` is not there: `{before}` is {held}"
    held = "an object without it" if isinstance(value, Mapping) else _type_of(value)
    return f"`{reference}` is not there: `{before}` is {held}"


def _type_of(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def _check_data(compiled: Compiled, data: Mapping[str, Any], seen: _Seen) -> None:
    expression = compiled.source
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _failed(expression, "a value that it uses is not plain JSON") from error
    if len(text) > LARGEST_DATA:
        raise _failed(expression, f"it computes with more than {LARGEST_DATA} bytes; compute it in a step")
    if _SUSPICIOUS.search(text):
        _check_parts(expression, data)
    if compiled.grows:
        _check_cost(compiled, seen)


def _check_parts(expression: str, value: Any) -> None:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            waiting.extend((*part.keys(), *part.values()))
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, str) and "\0" in part:
            raise _failed(expression, "a text that it uses holds the character U+0000")
        elif isinstance(part, int) and not -_LARGEST_INTEGER - 1 <= part <= _LARGEST_INTEGER:
            raise _failed(expression, "an integer that it uses has more than 64 bits")


def _check_cost(compiled: Compiled, seen: _Seen) -> None:
    def extent_of(path: Path) -> Extent:
        try:
            value = seen.get(path)
        except ExpressionFailed:
            return Extent()
        return Extent(float(len(json.dumps(value, ensure_ascii=False))), float(_longest_in(value)))

    size, work = cost_of(compiled.tree, extent_of)
    if size > LARGEST_BOUND or work > MOST_WORK:
        raise _failed(compiled.source, "with these values it makes or reads too much; compute it in a step")
    for path in compiled.ordered:
        if seen.is_object(path):
            raise _failed(compiled.source, f"`{shown(path)}` is an object, and its members have no order; use a list")


def _longest_in(value: Any) -> int:
    longest, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            waiting.extend(part.values())
        elif isinstance(part, list):
            longest = max(longest, len(part))
            waiting.extend(part)
    return longest


def _plain(expression: str, value: Any) -> Any:
    """The result as JSON. Members of objects come in the order of their names: CEL keeps no order."""
    try:
        plain = _as_json(value)
        size = len(json.dumps(plain, ensure_ascii=False))
    except ValueError as error:
        raise _failed(expression, str(error)) from error
    if size > LARGEST_RESULT:
        raise _failed(expression, f"its value has more than {LARGEST_RESULT} bytes")
    return plain


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("it gives a number that JSON does not have, such as infinity")
        return value
    if isinstance(value, list):
        return [_as_json(part) for part in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("it gives an object with names that are no texts; use `string(…)`")
        return {key: _as_json(value[key]) for key in sorted(value)}
    raise ValueError("it gives a time, a duration, bytes or a type, which JSON does not have; use `string(…)`")


def as_text(value: Any) -> str:
    """How a value reads among other words: texts as they are, all else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _failed(expression: str, reason: str) -> ExpressionFailed:
    short = expression if len(expression) <= _SHOWN else f"{expression[:_SHOWN]}…"
    return ExpressionFailed(f"`{short}`: {reason}")
