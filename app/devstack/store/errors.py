"""What a command can fail with, in MongoDB's own codes, so that drivers raise the exception they would raise there.

::

    StoreError               1      InternalError
    ├── BadValue             2      BadValue
    │   └── TypeMismatch     14     TypeMismatch
    ├── NotSupported         238    NotImplemented: valid on MongoDB, not here
    ├── UnknownCommand       59     CommandNotFound
    ├── InvalidId            53     InvalidIdField
    ├── PathNotViable        28     PathNotViable
    ├── ConflictingUpdate    40     ConflictingUpdateOperators
    ├── ImmutableField       66     ImmutableField
    ├── DocumentTooLarge     10334  BSONObjectTooLarge
    ├── DuplicateKey         11000  DuplicateKey
    ├── IndexConflict        86     IndexKeySpecsConflict
    ├── IndexNotFound        27     IndexNotFound
    ├── NamespaceNotFound    26     NamespaceNotFound
    ├── NamespaceExists      48     NamespaceExists
    ├── CursorNotFound       43     CursorNotFound
    ├── NoTransactions       20     IllegalOperation
    └── DiskFull             14031  OutOfDiskSpace: nothing was written, in memory or on disk
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class StoreError(Exception):
    """A failed command; ``details`` are further fields of the reply."""

    code: ClassVar[int] = 1
    code_name: ClassVar[str] = "InternalError"

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details

    def as_reply(self) -> dict[str, Any]:
        return {"ok": 0.0, "errmsg": self.message, "code": self.code, "codeName": self.code_name, **self.details}

    def as_write_error(self, index: int) -> dict[str, Any]:
        return {"index": index, "code": self.code, "errmsg": self.message, **self.details}


class BadValue(StoreError):
    code = 2
    code_name = "BadValue"


class TypeMismatch(BadValue):
    code = 14
    code_name = "TypeMismatch"


class NotSupported(StoreError):
    code = 238
    code_name = "NotImplemented"

    def __init__(self, what: str, /) -> None:
        super().__init__(f"the embedded store does not support {what}; run a real MongoDB and set MONGO_URI")


class UnknownCommand(StoreError):
    code = 59
    code_name = "CommandNotFound"


class InvalidId(StoreError):
    code = 53
    code_name = "InvalidIdField"


class PathNotViable(StoreError):
    code = 28
    code_name = "PathNotViable"


class ConflictingUpdate(StoreError):
    code = 40
    code_name = "ConflictingUpdateOperators"


class ImmutableField(StoreError):
    code = 66
    code_name = "ImmutableField"


class DocumentTooLarge(StoreError):
    code = 10334
    code_name = "BSONObjectTooLarge"


class DuplicateKey(StoreError):
    code = 11000
    code_name = "DuplicateKey"


class IndexConflict(StoreError):
    code = 86
    code_name = "IndexKeySpecsConflict"


class IndexNotFound(StoreError):
    code = 27
    code_name = "IndexNotFound"


class NamespaceNotFound(StoreError):
    code = 26
    code_name = "NamespaceNotFound"


class NamespaceExists(StoreError):
    code = 48
    code_name = "NamespaceExists"


class CursorNotFound(StoreError):
    code = 43
    code_name = "CursorNotFound"


class NoTransactions(StoreError):
    code = 20
    code_name = "IllegalOperation"


class DiskFull(StoreError):
    code = 14031
    code_name = "OutOfDiskSpace"
