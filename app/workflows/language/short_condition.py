"""Conditions of the short form, as in `sentiment == positive and not (score < 0.5)`, translated to CEL."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

LONGEST = 500
DEEPEST = 16
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>-?[0-9]{1,15}(?:\.[0-9]{1,15})?(?![\w.]))
    |(?P<word>[A-Za-z_][A-Za-z0-9_-]*)
    |(?P<mark>==|!=|<=|>=|<|>|&&|\|\||!|\(|\)|\[|\]|,)
    )""",
    re.VERBOSE | re.ASCII,
)
_COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">", "in"})
_CONSTANTS = {"true": "true", "false": "false", "null": "null", "none": "null"}
_NOTHING = ("end", "")


class ConditionInvalid(ValueError):
    """The message says where, by character."""


def condition_to_cel(text: str, word: Callable[[str, str], str]) -> str:
    """``word`` gives CEL for a bare word, and is told CEL for one that names no key. Raises `ConditionInvalid`."""
    if len(text) > LONGEST:
        raise ConditionInvalid(f"a condition has at most {LONGEST} characters")
    return _Reader(_tokens(text), word).whole()


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at, text = [], 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ConditionInvalid(f"character {at + 1}: this cannot be read; write KEY == value, with and, or, not")
        tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
        at = found.end()
    return tokens


@dataclass(slots=True)
class _Reader:
    tokens: list[tuple[str, str]]
    word: Callable[[str, str], str]
    at: int = 0
    depth: int = 0

    def whole(self) -> str:
        cel = self._any()
        if self._next != _NOTHING:
            self._stop("and, or, or the end")
        return cel

    @property
    def _next(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else _NOTHING

    def _takes(self, *values: str) -> str | None:
        kind, value = self._next
        if kind not in ("word", "mark") or value.lower() not in values:
            return None
        self.at += 1
        return value.lower()

    def _any(self) -> str:
        parts = [self._all()]
        while self._takes("or", "||"):
            parts.append(self._all())
        return " || ".join(parts)

    def _all(self) -> str:
        parts = [self._negation()]
        while self._takes("and", "&&"):
            parts.append(self._negation())
        return " && ".join(parts)

    def _negation(self) -> str:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ConditionInvalid(f"it is nested too deeply: at most {DEEPEST} levels are taken")
        cel = self._negated()
        self.depth -= 1
        return cel

    def _negated(self) -> str:
        if self._takes("not", "!"):
            return f"!({self._negation()})"
        if self._takes("("):
            cel = self._any()
            if not self._takes(")"):
                self._stop("')'")
            return f"({cel})"
        return self._comparison()

    def _comparison(self) -> str:
        left = self._value("null")
        operator = self._takes(*_COMPARISONS)
        if operator is None:
            return f"{left} == true"
        return f"{left} {operator} {self._list() if self._takes('[') else self._value(None)}"

    def _list(self) -> str:
        values = [self._value(None)]
        while self._takes(","):
            values.append(self._value(None))
        if not self._takes("]"):
            self._stop("',' or ']'")
        return f"[{', '.join(values)}]"

    def _value(self, unknown: str | None) -> str:
        """``unknown`` is CEL for a word that names no key; None: the word as a text."""
        kind, value = self._next
        if kind == "text":
            value = json.dumps(re.sub(r"\\(.)", r"\1", value[1:-1]))
        elif kind == "word":
            value = _CONSTANTS.get(value.lower()) or self.word(value, unknown or json.dumps(value))
        elif kind != "number":
            self._stop("a key or a value")
        self.at += 1
        return value

    def _stop(self, expected: str) -> NoReturn:
        raise ConditionInvalid(f"expecting {expected}, and here is {self._next[1] or 'the end'!r}")
