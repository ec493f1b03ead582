"""Documents as they are kept: encoded BSON, decoded afresh for each use, so that nobody can change a stored one.

Bytes also cost the garbage collector nothing, which keeps every operation flat with 100,000 documents in memory.
"""

from typing import Any

import bson
from bson import CodecOptions, ObjectId
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex

from app.devstack.store.errors import BadValue, DocumentTooLarge, InvalidId

Document = dict[str, Any]

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024

_CODEC: CodecOptions[Document] = CodecOptions(document_class=dict, tz_aware=False)


def decode(raw: bytes) -> Document:
    """The document with naive UTC times. Raises :class:`BadValue` when the bytes are not BSON."""
    try:
        return bson.decode(raw, _CODEC)
    except (bson.errors.BSONError, ValueError, OverflowError, RecursionError) as error:
        raise BadValue(f"invalid BSON: {error}") from error


def encode(document: Document) -> bytes:
    try:
        return bson.encode(document)
    except (bson.errors.BSONError, ValueError, OverflowError, RecursionError) as error:
        raise BadValue(f"cannot encode the document: {error}") from error


def as_value(raw: bytes) -> RawBSONDocument:
    """The stored bytes as a value that is copied into a reply without being decoded."""
    return RawBSONDocument(raw)


def check_size(raw: bytes) -> None:
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(f"the document is {len(raw)} bytes, larger than the maximum {MAX_DOCUMENT_BYTES}")


def with_identity(document: Document) -> Document:
    """The document with ``_id`` first, and a new ObjectId when it had none."""
    if "_id" not in document:
        return {"_id": ObjectId(), **document}
    if next(iter(document)) == "_id":
        return document
    return {"_id": document["_id"], **document}


def check_identity(identity: Any) -> None:
    if isinstance(identity, list | Regex):
        raise InvalidId(f"the '_id' value cannot be of type {type(identity).__name__}")
