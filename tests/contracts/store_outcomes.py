"""How the contract compares what stores did."""

from collections.abc import Awaitable
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

Document = dict[str, Any]
Database = AsyncDatabase[Document]


def exact(value: Any) -> Any:
    """The value in a form in which 1, 1.0 and True differ."""
    match value:
        case dict():
            return {name: exact(item) for name, item in value.items()}
        case list():
            return [exact(item) for item in value]
        case bool() | float():
            return type(value).__name__, value
        case _:
            return value


async def ids(cursor: Any) -> list[Any]:
    return [document["_id"] async for document in cursor]


async def attempt(operation: Awaitable[object]) -> str:
    try:
        await operation
    except DuplicateKeyError:
        return "duplicate"
    except PyMongoError:
        return "refused"
    return "accepted"
