"""An index: the documents' keys in order, for equality, ranges, sorting and uniqueness alike."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from app.devstack.store.documents import Document
from app.devstack.store.errors import BadValue, DuplicateKey, NotSupported
from app.devstack.store.ordering import EMPTY_ARRAY, MISSING, NULL, Key, order_key
from app.devstack.store.paths import Parts, leaves, split
from app.devstack.store.query import Query, parse
from app.devstack.store.sorted_keys import SortedKeys

# Greater than any part of a key: a prefix followed by it ends the range of all keys with that prefix.
CEILING: Key = (math.inf,)

_OPTIONS = {"name", "key", "v", "unique", "sparse", "partialFilterExpression", "expireAfterSeconds", "background"}


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What ``createIndexes`` asks for and ``listIndexes`` gives back."""

    name: str
    fields: tuple[tuple[str, int], ...]
    unique: bool = False
    sparse: bool = False
    partial: Document | None = None
    expire_after: float | None = None

    @classmethod
    def from_document(cls, document: Document) -> "IndexSpec":
        """Raises :class:`NotSupported` for kinds of indexes and options left out here."""
        unknown = {name for name, value in document.items() if name not in _OPTIONS and value is not None}
        if unknown:
            raise NotSupported(f"the index option {sorted(unknown)[0]!r}")
        fields = tuple((path, _direction(path, kind)) for path, kind in document["key"].items())
        if not fields:
            raise BadValue("an index needs at least one field")
        spec = cls(
            name=document.get("name") or "_".join(f"{path}_{direction}" for path, direction in fields),
            fields=fields,
            unique=bool(document.get("unique")),
            sparse=bool(document.get("sparse")),
            partial=document.get("partialFilterExpression"),
            expire_after=document.get("expireAfterSeconds"),
        )
        if spec.expire_after is not None and len(fields) > 1:
            raise BadValue("TTL indexes are single-field indexes, compound indexes do not support TTL")
        return spec

    def as_document(self) -> Document:
        optional = {
            "unique": self.unique or None,
            "sparse": self.sparse or None,
            "partialFilterExpression": self.partial,
            "expireAfterSeconds": self.expire_after,
        }
        given = {name: value for name, value in optional.items() if value is not None}
        return {"v": 2, "key": dict(self.fields), "name": self.name, **given}


IDENTITY_INDEX = IndexSpec(name="_id_", fields=(("_id", 1),))


def _direction(path: str, kind: Any) -> int:
    if not isinstance(kind, int | float) or int(kind) not in (1, -1) or "$**" in path:
        raise NotSupported(f"an index of kind {kind!r} on {path!r}")
    return int(kind)


class Index:
    """Entries are ``(rank, value, …, sequence)``: flat tuples compare fastest and are invisible to the collector."""

    def __init__(self, spec: IndexSpec) -> None:
        self.spec = spec
        self.partial: Query | None = parse(spec.partial) if spec.partial is not None else None
        self.paths = [path for path, _ in spec.fields]
        self.entries = SortedKeys()
        self.is_multikey = False
        self._parts: list[Parts] = [split(path) for path in self.paths]
        filtered = [condition.path for condition in self.partial.conditions] if self.partial else []
        opaque = self.partial is not None and bool(self.partial.clauses)
        self._roots = None if opaque else {path.split(".")[0] for path in self.paths + filtered}

    def is_touched_by(self, roots: set[str] | None) -> bool:
        """Whether a change of these top-level fields (None: of any) can change the keys of a document."""
        return roots is None or self._roots is None or not self._roots.isdisjoint(roots)

    def keys_of(self, document: Document) -> set[Key]:
        """The keys of a document, without sequence; none when it is filtered out, several through arrays."""
        if self.partial is not None and not self.partial.matches(document):
            return set()
        key: list[Any] = []
        is_present = False
        for parts in self._parts:
            column = leaves(document, parts)
            if len(column) != 1 or isinstance(column[0], list):
                return self._keys_through_arrays(document)
            is_present = is_present or column[0] is not MISSING
            key += order_key(column[0])
        return {tuple(key)} if is_present or not self.spec.sparse else set()

    def _keys_through_arrays(self, document: Document) -> set[Key]:
        self.is_multikey = True
        columns = [_column_keys(leaves(document, parts)) for parts in self._parts]
        return {tuple(part for key in combination for part in key) for combination in product(*columns)}

    def fill(self, entries: Iterable[Key]) -> None:
        """Builds the index at once. Raises :class:`DuplicateKey` when it is unique and the documents are not."""
        self.entries = SortedKeys(entries)
        if not self.spec.unique:
            return
        previous: Key = ()
        for entry in self.entries.between((), CEILING):
            if entry[:-1] == previous[:-1] and entry[-1] != previous[-1]:
                raise DuplicateKey(f"E11000 duplicate key error while building index {self.spec.name}")
            previous = entry

    def add(self, keys: set[Key], sequence: int) -> None:
        for key in keys:
            self.entries.add((*key, sequence))

    def remove(self, keys: set[Key], sequence: int) -> None:
        for key in keys:
            self.entries.remove((*key, sequence))

    def is_taken(self, keys: set[Key], sequence: int | None) -> bool:
        """Whether another document than this one holds one of the keys of a unique index."""
        return any(entry[-1] != sequence for key in keys for entry in self.entries.between(key, key + CEILING))

    def duplicate(self, namespace: str, document: Document) -> DuplicateKey:
        values = {path: _first(leaves(document, parts)) for path, parts in zip(self.paths, self._parts, strict=True)}
        shown = ", ".join(f"{path}: {value!r:.100}" for path, value in values.items())
        return DuplicateKey(
            f"E11000 duplicate key error collection: {namespace} index: {self.spec.name} dup key: {{ {shown} }}",
            keyPattern=dict(self.spec.fields),
            keyValue=values,
        )


def _first(column: list[Any]) -> Any:
    return None if not column or column[0] is MISSING else column[0]


def _column_keys(column: list[Any]) -> set[Key]:
    keys: set[Key] = set()
    for value in column:
        if isinstance(value, list):
            keys |= {order_key(item) for item in value} or {EMPTY_ARRAY}
        else:
            keys.add(order_key(value))
    return keys or {NULL}
