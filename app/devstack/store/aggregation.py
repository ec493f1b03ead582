"""Aggregation pipelines: matching, sorting and paging by the engine itself, expressions by mongomock."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import mongomock
from mongomock.aggregate import process_pipeline

from app.devstack.store.collection import sort_key
from app.devstack.store.documents import Document, decode, encode
from app.devstack.store.errors import BadValue, NotSupported
from app.devstack.store.expressions import accumulators, rewritten
from app.devstack.store.ordering import order_key
from app.devstack.store.paths import leaves, split
from app.devstack.store.planner import Sort
from app.devstack.store.query import parse

# Several operators of mongomock behave as in MongoDB 4.4 unless told otherwise.
mongomock.SERVER_VERSION = "7.0.0"

Documents = list[Document]
Stage = tuple[str, Any]

_process: Callable[..., Iterator[Document]] = process_pipeline


class ForeignCollection(Protocol):
    def find(self, search: Document) -> Iterator[Document]: ...


class Foreign(Protocol):
    """The other collections of the database, as mongomock's ``$lookup`` asks for them."""

    def get_collection(self, name: str) -> ForeignCollection: ...


def run(documents: Documents, pipeline: list[Stage], foreign: Foreign) -> Documents:
    """The pipeline's result; ``documents`` may be changed. Raises :class:`NotSupported` for stages left out here."""
    for name, options in pipeline:
        if name == "$facet":
            documents = [_facet(documents, options, foreign)]
        elif name in _STAGES:
            documents = _STAGES[name](documents, options)
        elif name in _BY_MONGOMOCK:
            documents = _by_mongomock(documents, name, rewritten(options), foreign)
        else:
            raise NotSupported(f"the aggregation stage {name}")
    return documents


def stage_of(stage: Any) -> Stage:
    if not isinstance(stage, dict) or len(stage) != 1:
        raise BadValue("A pipeline stage specification object must contain exactly one field.")
    return next(iter(stage.items()))


def sort_of(options: Any) -> Sort:
    """A sort document as pairs; raises :class:`BadValue` unless each direction is 1 or -1."""
    if not isinstance(options, dict):
        raise BadValue("the sort must be a document")
    for path, direction in options.items():
        if isinstance(direction, dict) or path.startswith("$"):
            raise NotSupported(f"sorting by {path}: {direction!r}")
        if direction not in (1, -1) or isinstance(direction, bool):
            raise BadValue("a sort direction must be 1 (ascending) or -1 (descending)")
    return [(path, int(direction)) for path, direction in options.items()]


def size_of(options: Any, name: str) -> int:
    if not isinstance(options, int | float) or isinstance(options, bool) or options < 0 or int(options) != options:
        raise BadValue(f"{name} needs a non-negative whole number, not {options!r:.80}")
    return int(options)


def _match(documents: Documents, options: Any) -> Documents:
    query = parse(options)
    return [document for document in documents if query.matches(document)]


def _sort(documents: Documents, options: Any) -> Documents:
    for path, direction in reversed(sort_of(options)):
        parts = split(path)
        keyed = [(sort_key(leaves(document, parts), direction), document) for document in documents]
        keyed.sort(key=lambda item: item[0], reverse=direction < 0)
        documents = [document for _, document in keyed]
    return documents


def _count(documents: Documents, options: Any) -> Documents:
    if not isinstance(options, str) or not options or options.startswith("$") or "." in options:
        raise BadValue("the count field must be a non-empty string without a $ prefix or dots")
    return [{options: len(documents)}] if documents else []


def _group(documents: Documents, options: Any) -> Documents:
    if not isinstance(options, dict) or "_id" not in options:
        raise BadValue("a group specification must include an _id")
    identity = options["_id"]
    output = {name: operand for name, operand in options.items() if name != "_id"}
    computed, accumulated = accumulators(output)
    documents = _with_fields(documents, computed)
    groups = _by_mongomock(documents, "$group", {"_id": rewritten(identity), **accumulated}, None)
    if not identity:
        # mongomock takes any false constant for null.
        groups = [{**group, "_id": identity} for group in groups]
    return _with_sets(groups, output)


def _bucket(documents: Documents, options: Any) -> Documents:
    if not isinstance(options, dict):
        raise BadValue("Argument to $bucket stage must be an object")
    output = options.get("output", {"count": {"$sum": 1}})
    computed, accumulated = accumulators(output)
    stage = {**options, "groupBy": rewritten(options.get("groupBy")), "output": accumulated}
    return _with_sets(_by_mongomock(_with_fields(documents, computed), "$bucket", stage, None), output)


def _with_fields(documents: Documents, computed: Document) -> Documents:
    return _by_mongomock(documents, "$addFields", computed, None) if computed else documents


def _with_sets(groups: Documents, output: Document) -> Documents:
    for name in (name for name, operand in output.items() if "$addToSet" in operand):
        for group in groups:
            group[name] = list({order_key(value): value for value in group[name]}.values())
    return groups


def _facet(documents: Documents, options: Any, foreign: Foreign) -> Document:
    # Each pipeline gets documents of its own, because stages change them.
    raws = [encode(document) for document in documents]
    return {
        name: run([decode(raw) for raw in raws], [stage_of(stage) for stage in pipeline], foreign)
        for name, pipeline in options.items()
    }


def _by_mongomock(documents: Documents, name: str, options: Any, foreign: Foreign | None) -> Documents:
    if not documents:
        return []
    try:
        return list(_process(documents, foreign, [{name: options}], None))
    except NotImplementedError as error:
        raise NotSupported(f"this {name} ({error})") from error
    except (mongomock.OperationFailure, AssertionError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise BadValue(f"{name} failed: {error}") from error


_STAGES: dict[str, Callable[[Documents, Any], Documents]] = {
    "$match": _match,
    "$sort": _sort,
    "$limit": lambda documents, options: documents[: size_of(options, "$limit")],
    "$skip": lambda documents, options: documents[size_of(options, "$skip") :],
    "$count": _count,
    "$group": _group,
    "$bucket": _bucket,
}

_BY_MONGOMOCK = {
    "$addFields",
    "$set",
    "$lookup",
    "$project",
    "$replaceRoot",
    "$sample",
    "$unwind",
}
