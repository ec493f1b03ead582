"""Which fields of a document an answer carries."""

from collections.abc import Callable
from typing import Any

from app.devstack.store.documents import Document
from app.devstack.store.errors import BadValue, NotSupported
from app.devstack.store.paths import split
from app.devstack.store.query import element_test

Projection = Callable[[Document], Document]

# A tree of field names; a leaf is None.
_Tree = dict[str, Any]


def compile_projection(fields: Any) -> Projection | None:
    """None when the whole document is wanted. Raises :class:`BadValue` for a mix of kept and dropped fields."""
    if not fields:
        return None
    if not isinstance(fields, dict):
        raise BadValue("the projection must be a document")
    shaped = {path: operand for path, operand in fields.items() if isinstance(operand, dict)}
    plain = {path: _choice(path, operand) for path, operand in fields.items() if path not in shaped}
    shapes = {path: _shape(operand) for path, operand in shaped.items()}
    select, tree = _selection(plain, shaped)

    def project(document: Document) -> Document:
        selected: Document = select(document, tree)
        for path, shape in shapes.items():
            shape(selected, path)
        return selected

    return project


def _choice(path: str, operand: Any) -> bool:
    if not isinstance(operand, bool | int | float) or "$" in path:
        raise NotSupported(f"computed or positional fields in a projection ({path!r})")
    return bool(operand)


def _selection(plain: dict[str, bool], shaped: Document) -> tuple[Callable[[Any, _Tree], Any], _Tree]:
    chosen = {is_kept for path, is_kept in plain.items() if path != "_id"}
    if len(chosen) > 1:
        raise BadValue("Cannot do inclusion and exclusion in the same projection")
    is_inclusion = chosen.pop() if chosen else _is_inclusion_by_default(plain, shaped)
    tree = _tree([path for path in plain if path != "_id"] + (list(shaped) if is_inclusion else []))
    if plain.get("_id", True) is is_inclusion:
        tree["_id"] = None
    return (_include if is_inclusion else _exclude), tree


def _is_inclusion_by_default(plain: dict[str, bool], shaped: Document) -> bool:
    return plain.get("_id", False) or any("$elemMatch" in operand for operand in shaped.values())


def _tree(fields: list[str]) -> _Tree:
    tree: _Tree = {}
    for path in fields:
        parts = split(path)
        branch = tree
        for part in parts[:-1]:
            child = branch.setdefault(part, {})
            if child is None:
                raise BadValue(f"Path collision at {path}")
            branch = child
        if parts[-1] in branch:
            raise BadValue(f"Path collision at {path}")
        branch[parts[-1]] = None
    return tree


def _include(value: Any, tree: _Tree) -> Any:
    return {
        name: item if tree[name] is None else _descend(item, tree[name], _include)
        for name, item in value.items()
        if name in tree and (tree[name] is None or isinstance(item, dict | list))
    }


def _exclude(value: Any, tree: _Tree) -> Any:
    return {
        name: item if name not in tree else _descend(item, tree[name], _exclude)
        for name, item in value.items()
        if name not in tree or tree[name] is not None
    }


def _descend(item: Any, tree: _Tree, select: Callable[[Any, _Tree], Any]) -> Any:
    if isinstance(item, dict):
        return select(item, tree)
    if isinstance(item, list):
        kept = item if select is _exclude else [element for element in item if isinstance(element, dict | list)]
        return [_descend(element, tree, select) for element in kept]
    return item


def _shape(operand: Document) -> Callable[[Document, str], None]:
    match list(operand.items()):
        case [("$slice", size)]:
            return _slice(size)
        case [("$elemMatch", search)]:
            return _elem_match(search)
        case _:
            raise NotSupported(f"the projection {operand!r}")


def _slice(size: Any) -> Callable[[Document, str], None]:
    if isinstance(size, int):
        window = slice(size, None) if size < 0 else slice(None, size)
    elif isinstance(size, list) and len(size) == 2 and size[0] >= 0:
        window = slice(size[0], size[0] + size[1])
    else:
        raise NotSupported(f"$slice: {size!r}")

    def shape(document: Document, path: str) -> None:
        if isinstance(document.get(path), list):
            document[path] = document[path][window]

    return shape


def _elem_match(search: Any) -> Callable[[Document, str], None]:
    fits = element_test(search)

    def shape(document: Document, path: str) -> None:
        value = document.pop(path, None)
        found = next(filter(fits, value), None) if isinstance(value, list) else None
        if found is not None:
            document[path] = [found]

    return shape
