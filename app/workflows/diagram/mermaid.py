"""A plan as a Mermaid flowchart, with how its steps ended where that is known. Pure."""

from collections.abc import Iterator
from itertools import count

from app.workflows.diagram.boxes import Box, Group, States, groups_of
from app.workflows.diagram.colours import FILLS
from app.workflows.plan import Plan


def mermaid_of(plan: Plan, states: States | None = None) -> str:
    """``states`` as `groups_of` takes them."""
    return "\n".join([*_Flowchart().lines(groups_of(plan, states)), ""])


class _Flowchart:
    def __init__(self) -> None:
        self._numbers = count(1)
        self._classes: list[str] = []

    def lines(self, groups: tuple[Group, ...]) -> Iterator[str]:
        yield "flowchart TD"
        for group in groups:
            yield from self._group(group, group.title, "  ")
        yield from self._classes
        used = {line.rsplit(" ", 1)[1] for line in self._classes}
        yield from (f"  classDef {state} fill:{colour}" for state, colour in FILLS.items() if state in used)

    def _group(self, group: Group, name: str, indent: str) -> Iterator[str]:
        if not group.title:
            yield from self._boxes(group.boxes, indent)
            return
        yield f"{indent}subgraph {name}[{_quoted(_escaped(group.title))}]"
        yield from self._boxes(group.boxes, f"{indent}  ")
        yield f"{indent}end"

    def _boxes(self, boxes: tuple[Box, ...], indent: str) -> Iterator[str]:
        names = [f"s{next(self._numbers)}" for _ in boxes]
        for name, box in zip(names, boxes, strict=True):
            yield from self._box(box, name, indent)
        for name, box in zip(names, boxes, strict=True):
            yield from (f"{indent}{names[need]} --> {name}" for need in box.needs)

    def _box(self, box: Box, name: str, indent: str) -> Iterator[str]:
        text = _quoted(f"{box.name}<br/>{_escaped(box.label)}")
        if box.state in FILLS:
            self._classes.append(f"  class {name} {box.state}")
        if not box.groups:
            yield f"{indent}{name}[{text}]"
            return
        yield f"{indent}subgraph {name}[{text}]"
        for group in box.groups:
            yield from self._group(group, f"{name}_{next(self._numbers)}", f"{indent}  ")
        yield f"{indent}end"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _quoted(text: str) -> str:
    return f'"{" ".join(text.split())}"'
