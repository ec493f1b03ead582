"""All databases and collections in memory, and the journal through which every change of them goes."""

import logging
from collections.abc import Callable, Iterator
from functools import partial

from app.devstack.store.collection import Collection, HeldKeys
from app.devstack.store.documents import Document, as_value, check_size, decode, encode
from app.devstack.store.errors import DiskFull, NamespaceExists, NamespaceNotFound, StoreError
from app.devstack.store.image import Effect, Image, Kind, Snapshot, pack
from app.devstack.store.index import IDENTITY_INDEX, IndexSpec
from app.devstack.store.log import CommandLog, LogUnusable

DOCUMENT_LIMIT = 200_000

log = logging.getLogger(__name__)


class Catalog:
    def __init__(self) -> None:
        self._collections: dict[str, Collection] = {}

    @classmethod
    def from_image(cls, image: Image) -> "Catalog":
        catalog = cls()
        for namespace, found in image.collections.items():
            collection = catalog.add(Collection(namespace))
            collection.load(found.documents.values(), map(IndexSpec.from_document, found.indexes.values()))
        return catalog

    def __iter__(self) -> Iterator[Collection]:
        return iter(list(self._collections.values()))

    def get(self, namespace: str) -> Collection | None:
        return self._collections.get(namespace)

    def peek(self, namespace: str) -> Collection:
        """The collection to read from; an empty one, not kept, when there is none."""
        found = self._collections.get(namespace)
        return Collection(namespace) if found is None else found

    def add(self, collection: Collection) -> Collection:
        self._collections[collection.namespace] = collection
        return collection

    def discard(self, namespace: str) -> Collection:
        return self._collections.pop(namespace)

    def names(self, database: str) -> list[str]:
        prefix = f"{database}."
        return [namespace[len(prefix) :] for namespace in self._collections if namespace.startswith(prefix)]

    def databases(self) -> list[str]:
        return list(dict.fromkeys(namespace.split(".", 1)[0] for namespace in self._collections))

    def snapshot(self) -> Snapshot:
        """References to what there is now; nothing of it is ever changed in place."""
        return Snapshot(
            [
                (name, [spec.as_document() for spec in found.made_indexes], list(found.raws()))
                for name, found in self._collections.items()
            ]
        )

    @property
    def document_count(self) -> int:
        return sum(len(collection) for collection in self._collections.values())


class Journal:
    """The changes one command makes: applied in memory at once, and taken back unless :meth:`commit` logs them."""

    def __init__(self, catalog: Catalog, command_log: CommandLog | None) -> None:
        self._catalog = catalog
        self._log = command_log
        self._effects: list[Effect] = []
        self._undo: list[Callable[[], object]] = []

    def peek(self, namespace: str) -> Collection:
        """The collection to change; one that does not exist yet begins to with its first document or index."""
        return self._catalog.peek(namespace)

    def create(self, namespace: str) -> None:
        """Raises :class:`NamespaceExists`."""
        if self._catalog.get(namespace) is not None:
            raise NamespaceExists(f"Collection {namespace} already exists.")
        self._keep(Collection(namespace))

    def drop(self, namespace: str) -> Collection:
        """Raises :class:`NamespaceNotFound`."""
        if self._catalog.get(namespace) is None:
            raise NamespaceNotFound("ns not found")
        collection = self._catalog.discard(namespace)
        self._note([Kind.DROP, namespace, None], partial(self._catalog.add, collection))
        return collection

    def insert(self, collection: Collection, raw: bytes, document: Document) -> None:
        """Raises :class:`DuplicateKey` and :class:`DocumentTooLarge`."""
        check_size(raw)
        sequence = collection.insert(raw, document)
        self._keep(collection)
        self._note([Kind.PUT, collection.namespace, as_value(raw)], partial(collection.remove, sequence))

    def replace(self, collection: Collection, sequence: int, after: Document, held: HeldKeys) -> bool:
        """Whether the document changed. Raises :class:`DuplicateKey` and :class:`DocumentTooLarge`."""
        old, raw = collection.raw(sequence), encode(after)
        if raw == old:
            return False
        check_size(raw)
        collection.replace(sequence, raw, after, held)
        effect = [Kind.PUT, collection.namespace, as_value(raw)]
        self._note(effect, partial(collection.restore, sequence, old))
        return True

    def remove(self, collection: Collection, sequence: int) -> None:
        raw = collection.raw(sequence)
        document = decode(raw)
        collection.remove(sequence)
        effect = [Kind.DELETE, collection.namespace, {"_id": document["_id"]}]
        self._note(effect, partial(collection.insert, raw, document, sequence))

    def create_index(self, collection: Collection, spec: IndexSpec) -> None:
        """Raises :class:`IndexConflict` and :class:`DuplicateKey`."""
        if collection.create_index(spec):
            self._keep(collection)
            effect = [Kind.INDEX, collection.namespace, spec.as_document()]
            self._note(effect, partial(collection.drop_index, spec.name))

    def drop_index(self, collection: Collection, name: str) -> None:
        """Raises :class:`IndexNotFound`, and refuses to drop the index on ``_id``."""
        if name == IDENTITY_INDEX.name:
            raise StoreError("cannot drop _id index")
        spec = collection.drop_index(name)
        effect = [Kind.DROP_INDEX, collection.namespace, {"name": name}]
        self._note(effect, partial(collection.create_index, spec))

    def commit(self) -> None:
        """Logs the changes, if any. Raises :class:`DiskFull` with the memory as it was before the command."""
        if not self._effects or self._log is None:
            return
        try:
            self._log.append(pack(self._effects))
        except (OSError, LogUnusable) as error:
            self.roll_back()
            log.error("store.write_not_logged: %s", error)
            raise DiskFull(f"the write was not logged and has been taken back: {error}") from error

    def roll_back(self) -> None:
        for undo in reversed(self._undo):
            undo()
        self._effects, self._undo = [], []

    def _keep(self, collection: Collection) -> None:
        namespace = collection.namespace
        if self._catalog.get(namespace) is None:
            self._catalog.add(collection)
            self._note([Kind.CREATE, namespace, None], partial(self._catalog.discard, namespace))

    def _note(self, effect: Effect, undo: Callable[[], object]) -> None:
        self._effects.append(effect)
        self._undo.append(undo)
