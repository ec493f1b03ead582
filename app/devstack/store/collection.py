"""One collection in memory: encoded documents by sequence number, and the indexes over them.

Its three writes (insert, replace, remove) either happen wholly or raise and change nothing.
"""

import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from app.devstack.store.documents import Document, decode
from app.devstack.store.errors import IndexConflict, IndexNotFound
from app.devstack.store.index import IDENTITY_INDEX, Index, IndexSpec
from app.devstack.store.ordering import EMPTY_ARRAY, Key, order_key
from app.devstack.store.paths import Parts, leaves, split
from app.devstack.store.planner import Sort, choose
from app.devstack.store.query import Query

HeldKeys = list[tuple[Index, set[Key]]]

_DATE_RANK = 45


class Collection:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.indexes: dict[str, Index] = {IDENTITY_INDEX.name: Index(IDENTITY_INDEX)}
        self._documents: dict[int, bytes] = {}
        self._sequences: dict[Key, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._documents)

    def raw(self, sequence: int) -> bytes:
        return self._documents[sequence]

    def document(self, sequence: int) -> Document:
        """A copy of the document, the caller's to change."""
        return decode(self._documents[sequence])

    def raws(self) -> Iterator[bytes]:
        return iter(self._documents.values())

    @property
    def made_indexes(self) -> list[IndexSpec]:
        """All but the one that every collection has."""
        return [index.spec for index in self.indexes.values() if index.spec.name != IDENTITY_INDEX.name]

    def load(self, raws: Iterable[bytes], specs: Iterable[IndexSpec]) -> None:
        """Fills an empty collection, decoding each document once. Raises :class:`DuplicateKey`."""
        for spec in specs:
            self.indexes[spec.name] = Index(spec)
        entries: list[list[Key]] = [[] for _ in self.indexes]
        for raw in raws:
            document = decode(raw)
            sequence = self._store(raw, order_key(document["_id"]), None)
            for index, keys in zip(self.indexes.values(), entries, strict=True):
                keys += ((*key, sequence) for key in index.keys_of(document))
        for index, keys in zip(self.indexes.values(), entries, strict=True):
            index.fill(keys)

    def insert(self, raw: bytes, document: Document, sequence: int | None = None) -> int:
        """Returns the sequence number, a new one unless a removed document is put back under its own.

        Raises :class:`DuplicateKey`.
        """
        identity = order_key(document["_id"])
        if identity in self._sequences:
            raise self.indexes[IDENTITY_INDEX.name].duplicate(self.namespace, document)
        keys = self.held_keys(document)
        self._refuse_duplicates(keys, document, None)
        sequence = self._store(raw, identity, sequence)
        for index, added in keys:
            index.add(added, sequence)
        return sequence

    def _store(self, raw: bytes, identity: Key, sequence: int | None) -> int:
        if sequence is None:
            sequence = self._next
            self._next += 1
        self._documents[sequence] = raw
        self._sequences[identity] = sequence
        return sequence

    def held_keys(self, document: Document, roots: set[str] | None = None) -> HeldKeys:
        """What the indexes hold for a document, before the top-level fields ``roots`` (None: any) change."""
        return [(index, index.keys_of(document)) for index in self.indexes.values() if index.is_touched_by(roots)]

    def replace(self, sequence: int, raw: bytes, after: Document, held: HeldKeys) -> None:
        """Stores a new version under the same ``_id``. Raises :class:`DuplicateKey`."""
        moves = [(index, old, index.keys_of(after)) for index, old in held]
        moves = [(index, old - new, new - old) for index, old, new in moves if old != new]
        self._refuse_duplicates([(index, added) for index, _, added in moves], after, sequence)
        self._documents[sequence] = raw
        for index, removed, added in moves:
            index.remove(removed, sequence)
            index.add(added, sequence)

    def restore(self, sequence: int, raw: bytes) -> None:
        """Takes a replacement back."""
        self.replace(sequence, raw, decode(raw), self.held_keys(self.document(sequence)))

    def remove(self, sequence: int) -> None:
        document = self.document(sequence)
        for index in self.indexes.values():
            index.remove(index.keys_of(document), sequence)
        del self._sequences[order_key(document["_id"])]
        del self._documents[sequence]

    def _refuse_duplicates(self, keys: list[tuple[Index, set[Key]]], document: Document, sequence: int | None) -> None:
        for index, added in keys:
            if index.spec.unique and index.is_taken(added, sequence):
                raise index.duplicate(self.namespace, document)

    def create_index(self, spec: IndexSpec) -> bool:
        """Builds the index unless it is there; raises :class:`IndexConflict` and :class:`DuplicateKey`."""
        if spec.name in self.indexes:
            if self.indexes[spec.name].spec == spec:
                return False
            raise IndexConflict(f"An existing index has the same name as the requested index: {spec.name}")
        for index in self.indexes.values():
            if index.spec.fields == spec.fields and index.spec.partial == spec.partial:
                return self._same_keys(index.spec, spec)
        index = Index(spec)
        index.fill((*key, sequence) for sequence in self._documents for key in index.keys_of(self.document(sequence)))
        self.indexes[spec.name] = index
        return True

    @staticmethod
    def _same_keys(existing: IndexSpec, wanted: IndexSpec) -> bool:
        if existing == IDENTITY_INDEX:
            return False
        raise IndexConflict(f"Index already exists with a different name or options: {existing.name}, {wanted.name}")

    def drop_index(self, name: str) -> IndexSpec:
        """Raises :class:`IndexNotFound`."""
        if name not in self.indexes:
            raise IndexNotFound(f"index not found with name [{name}]")
        return self.indexes.pop(name).spec

    def find(self, query: Query, sort: Sort, *, skip: int = 0, limit: int | None = None) -> Iterator[int]:
        """The sequence numbers of the matching documents, in order.

        Take them all before changing the collection.
        """
        need = math.inf if limit is None else skip + limit
        sequences, is_sorted = self._matching(query, sort, need)
        if sort and not is_sorted:
            sequences = iter(self._sorted(sequences, sort))
        return islice(sequences, skip, None if limit is None else skip + limit)

    def find_documents(
        self, query: Query, sort: Sort, *, skip: int = 0, limit: int | None = None
    ) -> Iterator[Document]:
        return map(self.document, self.find(query, sort, skip=skip, limit=limit))

    def count(self, query: Query) -> int:
        if not query.conditions and not query.clauses:
            return len(self)
        plan = choose(query, [], math.inf, self.indexes.values(), len(self))
        if plan is not None and plan.is_exact:
            return plan.count()
        return sum(1 for _ in self.find(query, []))

    def expired(self, now: datetime) -> list[int]:
        """The documents that TTL indexes say are over: read off the index, without looking at any other."""
        found: list[int] = []
        for index in self.indexes.values():
            if index.spec.expire_after is not None:
                limit = now - timedelta(seconds=index.spec.expire_after)
                found += [entry[-1] for entry in index.entries.between((_DATE_RANK,), (_DATE_RANK, limit))]
        return list(dict.fromkeys(found))

    def _matching(self, query: Query, sort: Sort, need: float) -> tuple[Iterator[int], bool]:
        try:
            identity = query.equality("_id")
        except KeyError:
            return self._planned(query, sort, need)
        sequence = self._sequences.get(order_key(identity))
        if sequence is None:
            return iter(()), True
        is_exact = len(query.conditions) == 1 and not query.clauses
        return iter([sequence] if is_exact or query.matches(self.document(sequence)) else []), True

    def _planned(self, query: Query, sort: Sort, need: float) -> tuple[Iterator[int], bool]:
        plan = choose(query, sort, need, self.indexes.values(), len(self))
        if plan is None:
            return self._tested(iter(self._documents), query), False
        if plan.is_exact:
            return plan.sequences(), plan.is_ordered
        return self._tested(plan.sequences(), query), plan.is_ordered

    def _tested(self, sequences: Iterator[int], query: Query) -> Iterator[int]:
        if not query.conditions and not query.clauses:
            return sequences
        documents = self._documents
        return (sequence for sequence in sequences if query.matches(decode(documents[sequence])))

    def _sorted(self, sequences: Iterator[int], sort: Sort) -> list[int]:
        fields = [(split(path), direction) for path, direction in sort]
        keyed = [(self._sort_keys(sequence, fields), sequence) for sequence in sequences]
        # From the last field to the first, because Python's sort is stable.
        for position, (_, direction) in reversed(list(enumerate(sort))):
            keyed.sort(key=lambda item: item[0][position], reverse=direction < 0)
        return [sequence for _, sequence in keyed]

    def _sort_keys(self, sequence: int, fields: list[tuple[Parts, int]]) -> list[Key]:
        document = self.document(sequence)
        return [sort_key(leaves(document, parts), direction) for parts, direction in fields]


def sort_key(values: list[Any], direction: int) -> Key:
    """What a document sorts by on one path: of an array, its least or its greatest element."""
    if len(values) == 1 and not isinstance(values[0], list):
        return order_key(values[0])
    keys: list[Key] = []
    for value in values:
        keys += [order_key(item) for item in value] if isinstance(value, list) else [order_key(value)]
    if not keys:
        return EMPTY_ARRAY
    return min(keys) if direction > 0 else max(keys)
