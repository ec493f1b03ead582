"""What an expression refers to, and what of it is needed to evaluate it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from app.expressions.tree import Call, Constant, Fold, Member, Name, Node, children_of

Path = tuple[str | int, ...]
# Names of functions that are written with a dot, as `math.greatest`.
_NAMESPACES = frozenset({"math", "strings", "optional", "cel", "base64"})
_INDEX, _OPTIONAL_MEMBER, _OPTIONAL_INDEX = "_[_]", "_?._", "_[?_]"


@dataclass(frozen=True, slots=True)
class Reference:
    """``path`` goes as far as it is constant. ``is_test``: nothing is wrong when it is not there."""

    path: Path
    place: int
    is_test: bool = False

    @property
    def shown(self) -> str:
        return shown(self.path)


def shown(path: Path) -> str:
    """As it is written: `steps.a.output.items[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def references_of(tree: Node) -> list[Reference]:
    """In the order of the text, without repetitions."""
    found = dict.fromkeys(_references(tree, frozenset()))
    return sorted(found, key=lambda one: one.place)


def path_of(node: Node, bound: frozenset[str] = frozenset()) -> Reference | None:
    """The reference that this node is, if it is nothing else. ``bound`` are variables of `map` and the like."""
    match node:
        case Name():
            return None if node.name in bound else Reference((node.name,), node.place)
        case Member():
            return _longer(node.operand, node.name, node.is_test, bound)
        case Call() if node.function in (_INDEX, _OPTIONAL_MEMBER, _OPTIONAL_INDEX):
            return _indexed(node, bound)
        case _:
            return None


def _indexed(node: Call, bound: frozenset[str]) -> Reference | None:
    operand, index = node.operands
    if not isinstance(index, Constant) or index.type not in ("string", "integer"):
        return None
    return _longer(operand, index.value, node.function != _INDEX, bound)


def _longer(operand: Node, part: str | int, is_test: bool, bound: frozenset[str]) -> Reference | None:
    reference = path_of(operand, bound)
    if reference is None:
        return None
    # What is asked of an optional member is optional as well.
    return Reference((*reference.path, part), reference.place, is_test or reference.is_test)


def _references(node: Node, bound: frozenset[str]) -> Iterator[Reference]:
    reference = path_of(node, bound)
    if reference is not None:
        yield reference
        return
    if isinstance(node, Fold):
        yield from _references(node.range, bound)
        yield from _references(node.initial, bound)
        inside = bound | {node.variable, node.gathered}
        for part in (node.condition, node.step, node.result):
            yield from _references(part, inside)
        return
    for child in children_of(node):
        if not _is_namespace(node, child):
            yield from _references(child, bound)


def _is_namespace(node: Node, child: Node) -> bool:
    return isinstance(node, Call) and child is node.target and isinstance(child, Name) and child.name in _NAMESPACES


@dataclass(slots=True)
class Wanted:
    """Which parts of a value an expression needs. ``is_whole``: all of it; ``is_tested``: also whether it is there."""

    parts: dict[str | int, "Wanted"] = field(default_factory=dict)
    is_whole: bool = False
    is_tested: bool = False

    def add(self, reference: Reference) -> None:
        wanted = self
        for part in reference.path:
            wanted = wanted.parts.setdefault(part, Wanted())
        wanted.is_whole = True
        wanted.is_tested = wanted.is_tested or reference.is_test


def wanted_by(references: list[Reference]) -> Wanted:
    wanted = Wanted()
    for reference in references:
        wanted.add(reference)
    return wanted
