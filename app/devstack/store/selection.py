"""The leading stages of a pipeline that a collection answers itself, with its indexes."""

from dataclasses import dataclass, field
from typing import Any

from app.devstack.store.aggregation import Stage, size_of, sort_of
from app.devstack.store.collection import Collection
from app.devstack.store.documents import Document
from app.devstack.store.planner import Sort
from app.devstack.store.query import Query, parse


@dataclass(slots=True)
class Selection:
    """``$match… $sort $skip $limit``, each optional, in this order."""

    searches: list[Any] = field(default_factory=list)
    sort: Sort = field(default_factory=list)
    skip: int = 0
    limit: int | None = None

    @classmethod
    def of(cls, pipeline: list[Stage]) -> tuple["Selection", list[Stage]]:
        """The selection, and the stages that are left to do."""
        selection = cls()
        rest = list(pipeline)
        for absorb in (selection._match, selection._sort, selection._skip, selection._limit):
            while rest and absorb(*rest[0]):
                rest.pop(0)
        return selection, rest

    @property
    def query(self) -> Query:
        return parse({"$and": self.searches} if self.searches else {})

    def documents(self, collection: Collection) -> list[Document]:
        return list(collection.find_documents(self.query, self.sort, skip=self.skip, limit=self.limit))

    def count(self, collection: Collection) -> int:
        if not self.skip and self.limit is None:
            return collection.count(self.query)
        return sum(1 for _ in collection.find(self.query, [], skip=self.skip, limit=self.limit))

    def _match(self, name: str, options: Any) -> bool:
        if name == "$match":
            self.searches.append(options)
        return name == "$match"

    def _sort(self, name: str, options: Any) -> bool:
        is_mine = name == "$sort" and not self.sort
        if is_mine:
            self.sort = sort_of(options)
        return is_mine

    def _skip(self, name: str, options: Any) -> bool:
        if name == "$skip":
            self.skip += size_of(options, name)
        return name == "$skip"

    def _limit(self, name: str, options: Any) -> bool:
        if name == "$limit":
            size = size_of(options, name)
            self.limit = size if self.limit is None else min(size, self.limit)
        return name == "$limit"


def count_only(rest: list[Stage], selection: Selection, collection: Collection) -> list[Document] | None:
    """The result of a pipeline that counts what is selected, as drivers do it; None for any other pipeline."""
    match rest:
        case [("$count", str(name))] if name and not name.startswith("$") and "." not in name:
            result: Document = {}
        case [("$group", {"_id": 1 | None as identity, **fields})] if list(fields.values()) == [{"$sum": 1}]:
            name = str(next(iter(fields)))
            result = {"_id": identity}
        case _:
            return None
    count = selection.count(collection)
    return [{**result, name: count}] if count else []
