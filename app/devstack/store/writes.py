"""insert, update, delete and findAndModify."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from app.devstack.store.aggregation import sort_of
from app.devstack.store.catalog import Journal
from app.devstack.store.collection import Collection
from app.devstack.store.documents import Document, as_value, check_identity, decode, encode, with_identity
from app.devstack.store.errors import BadValue, StoreError
from app.devstack.store.projection import compile_projection
from app.devstack.store.query import Query, parse
from app.devstack.store.request import Request, check_fields
from app.devstack.store.update import Update, compile_update

_UPDATE_FIELDS = frozenset({"q", "u", "upsert", "multi", "sort"})
_DELETE_FIELDS = frozenset({"q", "limit"})

_WriteErrors = list[Document]


def insert(request: Request, journal: Journal) -> Document:
    collection = journal.peek(request.namespace)

    def insert_one(_: int, given: Any) -> None:
        raw, document = _insertion(given)
        journal.insert(collection, raw, document)

    documents = request.list_of("documents")
    errors, done = _each(documents, insert_one, ordered=request.get("ordered", True))
    return _write_reply(errors, n=done)


def update(request: Request, journal: Journal) -> Document:
    collection = journal.peek(request.namespace)
    totals = {"n": 0, "nModified": 0}
    upserted: list[Document] = []

    def update_matching(index: int, statement: Document) -> None:
        check_fields("update", statement, _UPDATE_FIELDS)
        query, change = parse(statement.get("q")), compile_update(statement.get("u"))
        sequences = list(_to_update(collection, statement, query, change))
        for sequence in sequences:
            totals["n"] += 1
            totals["nModified"] += _modify(collection, sequence, query, change, journal)
        if not sequences and statement.get("upsert"):
            document = _upsert(collection, query, change, journal)
            totals["n"] += 1
            upserted.append({"index": index, "_id": document["_id"]})

    errors, _ = _each(request.list_of("updates"), update_matching, ordered=request.get("ordered", True))
    return _write_reply(errors, **totals, **({"upserted": upserted} if upserted else {}))


def _to_update(collection: Collection, statement: Document, query: Query, change: Update) -> Iterator[int]:
    is_multi = bool(statement.get("multi"))
    if is_multi and change.replacement is not None:
        raise BadValue("multi update is not supported for replacement-style update")
    return collection.find(query, sort_of(statement.get("sort") or {}), limit=None if is_multi else 1)


def delete(request: Request, journal: Journal) -> Document:
    collection = journal.peek(request.namespace)
    removed: list[int] = []

    def delete_matching(_: int, statement: Document) -> None:
        check_fields("delete", statement, _DELETE_FIELDS)
        limit = statement.get("limit")
        if limit not in (0, 1):
            raise BadValue("The limit field in delete objects must be 0 or 1")
        for sequence in list(collection.find(parse(statement.get("q")), [], limit=limit or None)):
            journal.remove(collection, sequence)
            removed.append(sequence)

    errors, _ = _each(request.list_of("deletes"), delete_matching, ordered=request.get("ordered", True))
    return _write_reply(errors, n=len(removed))


def find_and_modify(request: Request, journal: Journal) -> Document:
    collection = journal.peek(request.namespace)
    query = parse(request.get("query"))
    project = compile_projection(request.get("fields"))
    found = next(collection.find(query, sort_of(request.get("sort") or {}), limit=1), None)
    if request.get("remove"):
        outcome, raw = _find_and_remove(request, collection, found, journal)
    else:
        change = compile_update(request.get("update"))
        if found is not None:
            before = collection.raw(found)
            _modify(collection, found, query, change, journal)
            outcome = {"n": 1, "updatedExisting": True}
            raw = collection.raw(found) if request.get("new") else before
        elif request.get("upsert"):
            document = _upsert(collection, query, change, journal)
            outcome = {"n": 1, "updatedExisting": False, "upserted": document["_id"]}
            raw = encode(document) if request.get("new") else None
        else:
            outcome, raw = {"n": 0, "updatedExisting": False}, None
    if raw is None:
        return {"lastErrorObject": outcome, "value": None}
    return {"lastErrorObject": outcome, "value": as_value(raw) if project is None else project(decode(raw))}


def _find_and_remove(
    request: Request, collection: Collection, found: int | None, journal: Journal
) -> tuple[Document, bytes | None]:
    if request.get("new") or request.get("upsert") or request.get("update") is not None:
        raise BadValue("Cannot specify an update, upsert or new=true along with remove=true")
    if found is None:
        return {"n": 0}, None
    raw = collection.raw(found)
    journal.remove(collection, found)
    return {"n": 1}, raw


def _insertion(given: Any) -> tuple[bytes, Document]:
    raw = given if isinstance(given, bytes) else encode(given)
    document = decode(raw)
    complete = with_identity(document)
    check_identity(complete["_id"])
    return (raw if complete is document else encode(complete)), complete


def _modify(collection: Collection, sequence: int, query: Query, change: Update, journal: Journal) -> bool:
    document = collection.document(sequence)
    held = collection.held_keys(document, change.roots)
    return journal.replace(collection, sequence, change.apply(document, query), held)


def _upsert(collection: Collection, query: Query, change: Update, journal: Journal) -> Document:
    document = change.insertion(query)
    check_identity(document["_id"])
    raw = encode(document)
    journal.insert(collection, raw, decode(raw))
    return document


def _each(statements: Iterable[Any], apply: Callable[[int, Any], None], *, ordered: bool) -> tuple[_WriteErrors, int]:
    """Applies the statements one by one; gives the errors, and how many went well."""
    errors: _WriteErrors = []
    done = 0
    for index, statement in enumerate(statements):
        try:
            apply(index, statement)
            done += 1
        except StoreError as error:
            errors.append(error.as_write_error(index))
            if ordered:
                break
    return errors, done


def _write_reply(errors: _WriteErrors, **fields: Any) -> Document:
    return {**fields, "writeErrors": errors} if errors else fields
