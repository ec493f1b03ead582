"""An update document compiled once and applied to a document: ``$`` operators, or a whole replacement."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from app.devstack.store import paths
from app.devstack.store.documents import Document, with_identity
from app.devstack.store.errors import BadValue, ConflictingUpdate, ImmutableField, NotSupported
from app.devstack.store.operators import OPERATORS, Operator
from app.devstack.store.ordering import MISSING, order_key
from app.devstack.store.paths import Parts, leaves
from app.devstack.store.query import Query


@dataclass(frozen=True, slots=True)
class Step:
    """One operator on one path."""

    path: str
    parts: Parts
    apply: Operator
    operand: Any
    on_insert_only: bool

    @property
    def touched(self) -> list[str]:
        return [self.path, self.operand] if self.apply is OPERATORS["$rename"] else [self.path]


@dataclass(frozen=True, slots=True)
class Update:
    """``roots`` are the top-level fields it can change; None when it replaces the document."""

    steps: tuple[Step, ...]
    replacement: Document | None

    @property
    def roots(self) -> set[str] | None:
        return (
            None
            if self.replacement is not None
            else {paths.split(path)[0] for step in self.steps for path in step.touched}
        )

    def apply(self, document: Document, query: Query, *, inserting: bool = False) -> Document:
        """The new version; ``document`` may be changed. Raises :class:`ImmutableField` when ``_id`` would change."""
        identity = document.get("_id", MISSING)
        if self.replacement is not None:
            after = self._replaced(identity)
        else:
            after = document
            for step in self.steps:
                if inserting or not step.on_insert_only:
                    step.apply(after, _resolve(step, after, query), step.operand)
        if identity is not MISSING and order_key(after.get("_id", MISSING)) != order_key(identity):
            raise ImmutableField("Performing an update on the path '_id' would modify the immutable field '_id'")
        return with_identity(after)

    def insertion(self, query: Query) -> Document:
        """The document an upsert inserts: the filter's equalities with the update applied."""
        seed: Document = {}
        for condition in query.conditions:
            is_field = self.replacement is None or condition.path == "_id"
            if condition.is_pinned and is_field:
                paths.put(seed, condition.parts, condition.operand)
        return self.apply(seed, query, inserting=True)

    def _replaced(self, identity: Any) -> Document:
        replacement = dict(self.replacement or {})
        return replacement if identity is MISSING or "_id" in replacement else {"_id": identity, **replacement}


def compile_update(update: Any) -> Update:
    """Raises :class:`BadValue`, :class:`ConflictingUpdate` or :class:`NotSupported`."""
    if isinstance(update, list):
        raise NotSupported("update pipelines")
    if not isinstance(update, dict):
        raise BadValue("an update must be a document")
    if not update or not next(iter(update)).startswith("$"):
        return Update((), _replacement(update))
    steps = [step for name, fields in update.items() for step in _steps(name, fields)]
    _refuse_conflicts([path for step in steps for path in step.touched])
    return Update(tuple(steps), None)


def _replacement(update: Document) -> Document:
    for name in update:
        if name.startswith("$"):
            raise BadValue(f"the dollar ($) prefixed field '{name}' is not allowed in a replacement")
    return update


def _steps(name: str, fields: Any) -> list[Step]:
    if name not in OPERATORS:
        if name == "$bit":
            raise NotSupported("the update operator $bit")
        raise BadValue(f"Unknown modifier: {name}")
    if not isinstance(fields, dict):
        raise BadValue(f"Modifiers operate on fields but we found another type for {name}")
    return [
        Step(path, _checked(path), OPERATORS[name], operand, on_insert_only=name == "$setOnInsert")
        for path, operand in fields.items()
    ]


def _checked(path: str) -> Parts:
    parts = paths.split(path)
    if "" in parts:
        raise BadValue(f"The update path '{path}' contains an empty field name")
    if "$[" in path:
        raise NotSupported("array filters and $[]")
    if path.startswith("$"):
        raise BadValue(f"The dollar ($) prefixed field '{path}' is not valid for storage")
    return parts


def _refuse_conflicts(touched: list[str]) -> None:
    ordered = sorted(f"{path}." for path in touched)
    for shorter, longer in pairwise(ordered):
        if longer.startswith(shorter):
            path = shorter[:-1]
            raise ConflictingUpdate(f"Updating the path '{longer[:-1]}' would create a conflict at '{path}'")


def _resolve(step: Step, document: Document, query: Query) -> Parts:
    """The parts with ``$`` replaced by the position of the array element the filter matched."""
    if "$" not in step.parts:
        return step.parts
    place = step.parts.index("$")
    array_parts = step.parts[:place]
    position = _matched_position(paths.get(document, array_parts), array_parts, query)
    return (*array_parts, str(position), *step.parts[place + 1 :])


def _matched_position(array: Any, array_parts: Parts, query: Query) -> int:
    depth = len(array_parts)
    for condition in query.conditions:
        if condition.parts[:depth] != array_parts or not isinstance(array, list):
            continue
        rest = condition.parts[depth:]
        for position, element in enumerate(array):
            if condition.test(leaves([element], rest)):
                return position
    raise BadValue("The positional operator did not find the match needed from the query.")
