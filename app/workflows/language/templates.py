"""`${{ }}` in texts: an expression that is the whole text keeps its type, one among other words is rendered.

`$${{` is `${{` itself. Braces, quotes and comments of the expression inside are understood.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.errors import Invalid
from app.expressions.lexis import QUOTED, WORD

MOST_EXPRESSIONS = 100

_OPENING = re.compile(r"(\$?)\$\{\{")
_INSIDE = re.compile(rf"{QUOTED}|{WORD}|[{{}}]", re.VERBOSE)

Path = tuple[str | int, ...]


class TemplateInvalid(Invalid):
    """``column`` counts characters of the text from 1."""

    code = "TEMPLATE_INVALID"
    title = "Template invalid"

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"at character {column} of the text: {message}", column=column)


@dataclass(frozen=True, slots=True)
class Insert:
    """An expression in a text; ``start`` is the place of its `${{`."""

    expression: str
    start: int


@dataclass(frozen=True, slots=True)
class Template:
    """``parts`` are texts as they are and expressions between them."""

    parts: tuple[str | Insert, ...]

    @property
    def inserts(self) -> list[Insert]:
        return [part for part in self.parts if isinstance(part, Insert)]

    @property
    def whole(self) -> Insert | None:
        """The expression that is all of the text; the line feeds of a YAML block do not count."""
        rest = "".join(part for part in self.parts if isinstance(part, str))
        inserts = self.inserts
        return inserts[0] if len(inserts) == 1 and not rest.strip("\r\n") else None


def parse_template(text: str) -> Template:
    """Raises `TemplateInvalid` for what is not closed or empty."""
    parts: list[str | Insert] = []
    at = 0
    while opening := _OPENING.search(text, at):
        parts.append(text[at : opening.start()])
        if opening[1]:
            parts.append("${{")
            at = opening.end()
            continue
        if len(parts) > 2 * MOST_EXPRESSIONS:
            raise TemplateInvalid(f"there are more than {MOST_EXPRESSIONS} expressions", opening.start() + 1)
        end = _end_of(text, opening.end())
        if end is None:
            raise TemplateInvalid("`${{` is not closed by `}}`; `$${{` stands for the signs", opening.start() + 1)
        parts.append(_insert(text[opening.end() : end], opening.start()))
        at = end + 2
    return Template(tuple(part for part in (*parts, text[at:]) if part != ""))


def _insert(expression: str, start: int) -> Insert:
    if not expression.strip():
        raise TemplateInvalid("there is no expression between `${{` and `}}`", start + 1)
    return Insert(expression.strip(), start)


def _end_of(text: str, at: int) -> int | None:
    """The place of the `}}` that belongs to the opening before ``at``."""
    depth = 0
    for token in _INSIDE.finditer(text, at):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}" and depth:
            depth -= 1
        elif token[0] == "}":
            return token.start() if text.startswith("}}", token.start()) else None
    return None


def templates_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Texts of a JSON value that may hold expressions, with their place in it, without recursion."""
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            if "${{" in value:
                yield path, value
        elif isinstance(value, dict):
            waiting.extend(((*path, key), part) for key, part in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend(((*path, place), part) for place, part in reversed(list(enumerate(value))))
