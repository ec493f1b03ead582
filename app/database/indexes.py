"""Indexes are declared beside the queries that need them and created at start."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pymongo import IndexModel

from app.database.documents import Database


@dataclass(frozen=True, slots=True)
class Index:
    """One index of one collection; creating it again is harmless."""

    collection: str
    keys: tuple[tuple[str, int], ...]
    options: dict[str, Any] = field(default_factory=dict)


async def ensure_indexes(database: Database, indexes: Iterable[Index]) -> None:
    by_collection: dict[str, list[IndexModel]] = {}
    for index in indexes:
        by_collection.setdefault(index.collection, []).append(IndexModel(list(index.keys), **index.options))
    for collection, models in by_collection.items():
        await database[collection].create_indexes(models)
