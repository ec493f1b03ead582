"""Dotted paths through documents and arrays."""

from typing import Any

from app.devstack.store.errors import PathNotViable
from app.devstack.store.ordering import MISSING

Parts = tuple[str, ...]

# More than any real array holds: a path such as `l.4000000000` must not allocate what it names.
MAX_ARRAY_PADDING = 1_500_000


def split(path: str) -> Parts:
    return tuple(path.split("."))


def leaves(value: Any, parts: Parts, start: int = 0) -> list[Any]:
    """Every value the path reaches, as queries see it: an array on the way fans out to its elements.

    A path that ends early gives ``MISSING``; one that leads into an array without documents gives nothing.
    """
    for position in range(start, len(parts)):
        if isinstance(value, dict):
            value = value.get(parts[position], MISSING)
        elif isinstance(value, list):
            return _fan_out(value, parts, position)
        else:
            return [MISSING]
    return [value]


def _fan_out(array: list[Any], parts: Parts, position: int) -> list[Any]:
    found: list[Any] = []
    name = parts[position]
    if name.isdecimal() and int(name) < len(array):
        found += leaves(array[int(name)], parts, position + 1)
    for element in array:
        if isinstance(element, dict):
            found += leaves(element, parts, position)
    return found


def get(value: Any, parts: Parts) -> Any:
    """The one value at a path as updates see it, where arrays are entered by number only; else ``MISSING``."""
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def put(document: dict[str, Any], parts: Parts, value: Any) -> None:
    """Sets the value, creating documents on the way. Raises :class:`PathNotViable` where a scalar is in the way."""
    holder: Any = document
    for part in parts[:-1]:
        child = get(holder, (part,))
        if child is MISSING:
            child = {}
            _put_item(holder, part, child)
        holder = child
    _put_item(holder, parts[-1], value)


def remove(document: dict[str, Any], parts: Parts) -> None:
    """Unsets a field; an array element becomes null, because its neighbours keep their places."""
    holder = get(document, parts[:-1])
    last = parts[-1]
    if isinstance(holder, dict):
        holder.pop(last, None)
    elif isinstance(holder, list) and last.isdecimal() and int(last) < len(holder):
        holder[int(last)] = None


def _put_item(holder: Any, part: str, value: Any) -> None:
    if isinstance(holder, dict):
        holder[part] = value
    elif isinstance(holder, list) and part.isdecimal():
        _put_element(holder, int(part), value)
    else:
        raise PathNotViable(f"Cannot create field '{part}' in element {holder!r:.80}")


def _put_element(array: list[Any], position: int, value: Any) -> None:
    if position - len(array) > MAX_ARRAY_PADDING:
        raise PathNotViable(f"cannot pad an array of {len(array)} elements up to position {position}")
    array.extend([None] * (position + 1 - len(array)))
    array[position] = value
