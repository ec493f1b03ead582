"""Types of expressions, as far as contracts tell them, and comparisons that can never be true."""

from collections.abc import Iterator

from app.contracts import Schema, types_at
from app.expressions.references import path_of, shown
from app.expressions.tree import Call, Constant, Entries, Items, Node, nodes_of
from app.workflows.language.checks.findings import nearest
from app.workflows.language.checks.scope import Scope

_EQUAL = frozenset({"_==_", "_!=_"})
_ORDERED = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_CONDITIONAL = "_?_:_"
_UNKNOWN: frozenset[str] = frozenset()


def types_of(node: Node, scope: Scope) -> frozenset[str]:
    """JSON types that it may give; empty when that is not known."""
    if (schema := _schema_of(node, scope)) is not None:
        return types_at(schema, ())
    match node:
        case Constant():
            return frozenset({node.type})
        case Items():
            return frozenset({"array"})
        case Entries():
            return frozenset({"object"})
        case Call() if node.function == _CONDITIONAL:
            branches = [types_of(branch, scope) for branch in node.operands[1:]]
            return frozenset().union(*branches) if all(branches) else _UNKNOWN
        case Call() if node.type is not None:
            return frozenset({node.type})
        case _:
            return _UNKNOWN


def values_of(node: Node, scope: Scope) -> list[object] | None:
    """All values that it may have, when its contract lists them."""
    schema = _schema_of(node, scope)
    if schema is None:
        return None
    if types_at(schema, ()) == frozenset({"boolean"}):
        return [True, False]
    variants = schema.get("anyOf", [schema])
    found: list[object] = []
    for variant in variants:
        if variant.get("type") == "null":
            found.append(None)
        elif "const" in variant:
            found.append(variant["const"])
        elif "enum" in variant:
            found.extend(variant["enum"])
        else:
            return None
    return found


def check_comparisons(tree: Node, scope: Scope) -> Iterator[tuple[str, str | None]]:
    for node in nodes_of(tree):
        if isinstance(node, Call) and node.function in _EQUAL | _ORDERED and len(node.operands) == 2:
            left, right = node.operands
            yield from _types_differ(node, left, right, scope)
        if isinstance(node, Call) and node.function in _EQUAL:
            yield from _not_listed(node.operands[0], [node.operands[1]], scope)
            yield from _not_listed(node.operands[1], [node.operands[0]], scope)
        if isinstance(node, Call) and node.function == "@in" and isinstance(node.operands[1], Items):
            yield from _not_listed(node.operands[0], list(node.operands[1].items), scope)


def _types_differ(node: Call, left: Node, right: Node, scope: Scope) -> Iterator[tuple[str, str | None]]:
    first, second = _comparable(types_of(left, scope)), _comparable(types_of(right, scope))
    if not first or not second or first & second:
        return
    if node.function in _EQUAL and "null" in first | second:
        # A step that was skipped has null for everything.
        return
    names = f"{' or '.join(sorted(first))} is compared with {' or '.join(sorted(second))}"
    result = "fails" if node.function in _ORDERED else "is always the same"
    yield f"{_subject(left, right, scope)}{names}: that {result}", None


def _subject(left: Node, right: Node, scope: Scope) -> str:
    bound = (path_of(node) for node in (left, right))
    known = next((one for one in bound if one is not None and scope.schema_of(one.path) is not None), None)
    return f"`{known.shown}`: " if known else ""


def _comparable(types: frozenset[str]) -> frozenset[str]:
    return frozenset("number" if name == "integer" else name for name in types)


def _not_listed(node: Node, others: list[Node], scope: Scope) -> Iterator[tuple[str, str | None]]:
    values = values_of(node, scope)
    reference = path_of(node)
    if values is None or reference is None:
        return
    for other in others:
        if isinstance(other, Constant) and other.type == "string" and other.value not in values:
            texts = [value for value in values if isinstance(value, str)]
            yield f"`{shown(reference.path)}` is never {other.value!r}", nearest(other.value, texts)


def _schema_of(node: Node, scope: Scope) -> Schema | None:
    reference = path_of(node)
    if reference is None or reference.path[0] not in scope.roots():
        return None
    return scope.schema_of(reference.path) or None
