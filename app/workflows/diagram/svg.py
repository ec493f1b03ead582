"""A plan as a picture: boxes within boxes, the arrows between them, and states in words and colours. Pure.

One file without scripts, fonts or references to others; the same plan gives the same bytes.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from unicodedata import east_asian_width

from app.workflows.diagram.boxes import Box, Group, States, groups_of
from app.workflows.diagram.colours import FILLS
from app.workflows.diagram.placing import Placement, Point, Size, placed
from app.workflows.plan import Plan

_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
# Of a letter in that font at 12 pixels, a little generously.
_LETTER, _LINE = 7.4, 16.0
_PADDING, _GAP, _MARGIN = 10.0, 12.0, 16.0
_LONGEST = 34
_NARROWEST = 90.0
_NOT_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_MARKS = {
    "succeeded": "✓",
    "tolerated": "✓",
    "exhausted": "✓",
    "failed": "✗",
    "cancelled": "✗",
    "skipped": "–",
    "blocked": "–",
    "running": "…",
    "waiting": "?",
}
_STYLE = (
    f"text{{font:12px {_FONT};fill:#1f2328}}.name{{font-weight:bold}}.label,.title{{fill:#57606a}}"
    ".box{stroke:#8c959f;fill:#ffffff}.group{stroke:#b7bec7;fill:none;stroke-dasharray:4 3}"
    ".edge{stroke:#6e7781;fill:none;stroke-width:1.3}#head{fill:#6e7781}"
)
_HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z"/></marker>'
)


def svg_of(plan: Plan, states: States | None = None) -> str:
    """``states`` as `groups_of` takes them. The text is UTF-8."""
    name = _escaped(plan.workflow.name)
    stack = _stacked(groups_of(plan, states))
    width, height = stack.size.width + 2 * _MARGIN, stack.size.height + 2 * _MARGIN
    size = f'width="{_number(width)}" height="{_number(height)}" viewBox="0 0 {_number(width)} {_number(height)}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{name}">',
        f"<title>{name}</title>",
        f"<style>{_STYLE}</style>",
        f"<defs>{_HEAD}</defs>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *_drawn_stack(stack, (_MARGIN, _MARGIN)),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A box, measured; ``lines`` are what it says."""

    box: Box
    lines: tuple[str, ...]
    inside: "_Stack"
    size: Size


@dataclass(frozen=True, slots=True)
class _Frame:
    """A group, measured, with its boxes' places in it."""

    title: str
    pictures: tuple[_Picture, ...]
    placement: Placement
    size: Size


@dataclass(frozen=True, slots=True)
class _Stack:
    frames: tuple[_Frame, ...]
    size: Size


def _stacked(groups: Sequence[Group]) -> _Stack:
    """Groups below each other."""
    frames = tuple(_framed(group) for group in groups)
    height = sum(frame.size.height for frame in frames) + _GAP * max(len(frames) - 1, 0)
    return _Stack(frames, Size(max((frame.size.width for frame in frames), default=0), height))


def _framed(group: Group) -> _Frame:
    pictures = tuple(_pictured(box) for box in group.boxes)
    placement = placed([picture.size for picture in pictures], [box.needs for box in group.boxes])
    size = placement.size
    if group.title:
        width = max(size.width, _width(_cut(group.title))) + 2 * _PADDING
        size = Size(width, size.height + _LINE + 3 * _PADDING)
    return _Frame(group.title, pictures, placement, size)


def _pictured(box: Box) -> _Picture:
    state = f"{_MARKS.get(box.state, '')} {box.state}".strip() if box.state else ""
    lines = tuple(_cut(line) for line in (box.name, box.label, state) if line)
    inside = _stacked(box.groups)
    width = max(_NARROWEST, inside.size.width, *map(_width, lines)) + 2 * _PADDING
    height = len(lines) * _LINE + 1.5 * _PADDING + (inside.size.height + _PADDING if box.groups else 0)
    return _Picture(box, lines, inside, Size(width, height))


def _drawn_stack(stack: _Stack, corner: Point) -> Iterator[str]:
    left, top = corner
    for frame in stack.frames:
        yield from _drawn_frame(frame, (left + (stack.size.width - frame.size.width) / 2, top))
        top += frame.size.height + _GAP


def _drawn_frame(frame: _Frame, corner: Point) -> Iterator[str]:
    left, top = corner
    if frame.title:
        yield _rectangle("group", corner, frame.size)
        yield _text("title", (left + _PADDING, top + _LINE), _cut(frame.title))
        left += (frame.size.width - frame.placement.size.width) / 2
        top += _LINE + 1.5 * _PADDING
    for edge in frame.placement.edges:
        curve = _curve([(left + x, top + y) for x, y in edge.points])
        yield f'<path class="edge" marker-end="url(#head)" d="{curve}"/>'
    for picture, (x, y) in zip(frame.pictures, frame.placement.corners, strict=True):
        yield from _drawn_box(picture, (left + x, top + y))


def _drawn_box(picture: _Picture, corner: Point) -> Iterator[str]:
    box, (left, top) = picture.box, corner
    told = ": ".join(part for part in (box.name, box.label, box.state) if part)
    yield f"<g><title>{_escaped(told)}</title>"
    yield _rectangle("box", corner, picture.size, fill=FILLS.get(box.state or ""))
    for number, line in enumerate(picture.lines, start=1):
        yield _text("name" if number == 1 else "label", (left + _PADDING, top + number * _LINE + 1), line)
    below = top + len(picture.lines) * _LINE + 1.5 * _PADDING
    yield from _drawn_stack(picture.inside, (left + (picture.size.width - picture.inside.size.width) / 2, below))
    yield "</g>"


def _rectangle(kind: str, corner: Point, size: Size, *, fill: str | None = None) -> str:
    style = f' style="fill:{fill}"' if fill else ""
    left, top, width, height = map(_number, (*corner, size.width, size.height))
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="5"{style}/>'


def _text(kind: str, place: Point, text: str) -> str:
    return f'<text class="{kind}" x="{_number(place[0])}" y="{_number(place[1])}">{_escaped(text)}</text>'


def _curve(points: Sequence[Point]) -> str:
    """Straight within a pair, and upright where one pair goes over into the next."""
    parts = [f"M{_pair(points[0])}"]
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(points)):
        if number % 2 == 0 or x == to_x:
            parts.append(f"L{_pair((to_x, to_y))}")
        else:
            middle = (y + to_y) / 2
            parts.append(f"C{_pair((x, middle))} {_pair((to_x, middle))} {_pair((to_x, to_y))}")
    return "".join(parts)


def _pair(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def _width(text: str) -> float:
    return sum(_LETTER * (2 if east_asian_width(letter) in "WF" else 1) for letter in text)


def _escaped(text: str) -> str:
    return escape(_NOT_XML.sub("�", text))
