"""Between values and bytes, strictly: only plain data and the types that are listed are built from a checkpoint."""

from collections.abc import Iterable
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from app.checkpoints.errors import CheckpointUnusable, StateNotStorable

# What `dumps_typed` writes. The library also reads pickles and its old JSON, which can name constructors.
KINDS = frozenset({"null", "bytes", "bytearray", "msgpack"})

Typed = tuple[str, bytes]


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's own serializer; where that hands out the raw data of a blocked type, this one raises."""

    def __init__(self, types: Iterable[type] = ()) -> None:
        super().__init__(allowed_msgpack_modules=[(one.__module__, one.__name__) for one in types])

    def dumps_typed(self, obj: Any) -> Typed:
        """Raises `StateNotStorable`."""
        try:
            return super().dumps_typed(obj)
        except (TypeError, ValueError, ormsgpack.MsgpackEncodeError) as error:
            # Its text may quote the value; the type is in the cause.
            raise StateNotStorable("the agent's state holds a value that cannot be stored") from error

    def loads_typed(self, data: Typed) -> Any:
        """Raises `CheckpointUnusable`."""
        blocked: list[SerdeEvent] = []
        forget = register_serde_event_listener(blocked.append)
        try:
            value = self._load(data)
        finally:
            forget()
        if blocked:
            raise CheckpointUnusable(f"the checkpoint names {blocked[0]['module']}.{blocked[0]['name']}")
        return value

    def _load(self, data: Typed) -> Any:
        if data[0] not in KINDS:
            raise CheckpointUnusable("the checkpoint has an encoding that is not accepted")
        try:
            return super().loads_typed(data)
        except (ValueError, TypeError) as error:
            raise CheckpointUnusable("the checkpoint cannot be decoded") from error
