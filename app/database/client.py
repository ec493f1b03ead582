"""The MongoDB clients: one asynchronous client per event loop, one synchronous one for the heartbeat thread."""

from datetime import timedelta
from typing import Any

from pymongo import AsyncMongoClient, MongoClient

from app.database.documents import Database, Document
from app.settings import Settings


def _options(settings: Settings, timeout_sec: float) -> dict[str, Any]:
    milliseconds = int(timeout_sec * 1000)
    return {
        "tz_aware": True,
        "appname": settings.app_name,
        "timeoutMS": milliseconds,
        "serverSelectionTimeoutMS": milliseconds,
        "connectTimeoutMS": min(milliseconds, 2000),
        # What was acknowledged must survive the loss of a node: nothing accepted may be lost.
        # A stale read would decide on a state that is no more.
        "readPreference": "primary",
        "w": "majority",
        "journal": True,
    }


def connect(settings: Settings) -> AsyncMongoClient[Document]:
    """A client that connects on first use, so that a store that is down does not stop the process."""
    options = _options(settings, settings.mongo_timeout_sec)
    return AsyncMongoClient(settings.mongo_uri.get_secret_value(), maxPoolSize=50, **options)


def connect_blocking(settings: Settings, *, longest_wait: timedelta) -> MongoClient[Document]:
    """For the heartbeat, which must notice in time that a renewal failed: no operation takes longer than that."""
    options = _options(settings, min(settings.mongo_timeout_sec, longest_wait.total_seconds()))
    return MongoClient(settings.mongo_uri.get_secret_value(), maxPoolSize=2, **options)


def database_of(client: AsyncMongoClient[Document], settings: Settings) -> Database:
    return client[settings.mongo_db_name]
