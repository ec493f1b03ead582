"""LangGraph's checkpoint saver over one document per thread.

Cost, counted in store operations: one per finished step of the graph, the last one included, however many nodes finish
together; one more for a node that finishes more than `GATHERING_PAUSE` before the others of its step; one to resume;
none for an attempt that nothing can precede, and none for its input. This wants ``durability="sync"``: then a node
starts only when what the ones before it did is durable. With "async" the next node would start before that, and "exit"
saves nothing when the process is killed.

Only the latest checkpoint of a namespace is kept, which is what resuming after a crash or an interrupt needs. There is
no history to travel back in, and a `DeltaChannel`, which is made of that history, is refused.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.types import ERROR

from app.checkpoints.errors import CheckpointUnusable
from app.checkpoints.serde import StrictSerializer, Typed
from app.checkpoints.thread import Space, Thread
from app.database.documents import Document

OpenThread = Callable[[str], Thread]


class MongoSaver(BaseCheckpointSaver[int]):
    """The saver of one attempt; belongs to its event loop. Raises `LeaseLost` when a later attempt took over."""

    def __init__(self, open_thread: OpenThread, serde: StrictSerializer, *, defers_input: bool = False) -> None:
        """``defers_input`` saves the input with the first finished node; wrong for a graph with `interrupt_before`."""
        super().__init__(serde=serde)
        self._open = open_thread
        self._defers_input = defers_input
        self._threads: dict[str, Thread] = {}
        self._inputs: set[str] = set()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Takes the thread over from earlier attempts. Raises `CheckpointUnusable`."""
        thread = await self._loaded(config)
        space = thread.find_space(_ns(config))
        if space is None or get_checkpoint_id(config) not in {None, space["id"]}:
            return None
        return await self._tuple(thread, space)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the library's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of the configured thread, the newest first: one per namespace. Takes the thread over."""
        if config is None:
            raise NotImplementedError("name a thread: a list over all of them would have no bound")
        thread = await self._loaded(config)
        chosen = list(_chosen(thread.spaces(), config, before))
        for space in sorted(chosen, key=lambda space: str(space["id"]), reverse=True):
            if limit is not None and limit <= 0:
                return
            found = await self._tuple(thread, space)
            metadata: Mapping[str, Any] = found.metadata
            if all(metadata.get(name) == value for name, value in (filter or {}).items()):
                limit = None if limit is None else limit - 1
                yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,  # noqa: ARG002 - channels are not stored apart from each other
    ) -> RunnableConfig:
        thread, ns = await self._loaded(config), _ns(config)
        await thread.put(
            ns,
            ids=(checkpoint["id"], get_checkpoint_id(config)),
            checkpoint=self.serde.dumps_typed(checkpoint),
            metadata=self.serde.dumps_typed(get_checkpoint_metadata(config, metadata)),
        )
        if not (self._defers_input and self._is_before_first_node(config, checkpoint, metadata)):
            await thread.save()
        return _config(thread, ns, checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """A node's error alone is not saved: the job's history has it, and the node runs again with or without it."""
        if all(channel == ERROR for channel, _ in writes):
            return
        thread = await self._loaded(config)
        described = [
            self._described(position, channel, value, task_id, task_path)
            for position, (channel, value) in enumerate(writes)
        ]
        await thread.put_writes(_ns(config), get_checkpoint_id(config) or "", described)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._thread(thread_id).forget()

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        raise NotImplementedError("only the latest checkpoint is kept: use another channel than DeltaChannel")

    def _is_before_first_node(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> bool:
        if metadata.get("source") == "input":
            self._inputs.add(checkpoint["id"])
            return True
        # The step after the input only tells START's successors that they are next.
        return get_checkpoint_id(config) in self._inputs

    async def _loaded(self, config: RunnableConfig) -> Thread:
        thread = self._thread(str(config["configurable"]["thread_id"]))
        await thread.load()
        return thread

    def _thread(self, thread_id: str) -> Thread:
        if thread_id not in self._threads:
            self._threads[thread_id] = self._open(thread_id)
        return self._threads[thread_id]

    def _described(
        self, position: int, channel: str, value: Any, task_id: str, path: str
    ) -> tuple[str, Document, Typed]:
        # The library's rule: a special channel has one place per task, so that its last write wins.
        index = WRITES_IDX_MAP.get(channel, position)
        description = {"task_id": task_id, "index": index, "channel": channel, "path": path}
        return f"{task_id}_{index}", description, self.serde.dumps_typed(value)

    async def _tuple(self, thread: Thread, space: Space) -> CheckpointTuple:
        try:
            writes = sorted(space["writes"].values(), key=_order)
            return CheckpointTuple(
                config=_config(thread, space["ns"], space["id"]),
                checkpoint=await self._value(thread, space["checkpoint"]),
                metadata=await self._value(thread, space["metadata"]),
                parent_config=_config(thread, space["ns"], space["parent"]) if space["parent"] else None,
                pending_writes=[await self._pending(thread, write) for write in writes],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointUnusable("the checkpoint lacks a part") from error

    async def _pending(self, thread: Thread, write: Document) -> PendingWrite:
        return write["task_id"], write["channel"], await self._value(thread, write["value"])

    async def _value(self, thread: Thread, stored: Document) -> Any:
        return self.serde.loads_typed(await thread.unpack(stored))


def _ns(config: RunnableConfig) -> str:
    return str(config["configurable"].get("checkpoint_ns", ""))


def _config(thread: Thread, ns: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread.key.thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}


def _order(write: Document) -> tuple[str, str, int]:
    return writes_sort_key(write["path"], write["task_id"], write["index"])


def _chosen(spaces: Sequence[Space], config: RunnableConfig, before: RunnableConfig | None) -> Iterator[Space]:
    ns, wanted = config["configurable"].get("checkpoint_ns"), get_checkpoint_id(config)
    end = get_checkpoint_id(before) if before else None
    for space in spaces:
        if ns in {None, space["ns"]} and wanted in {None, space["id"]} and (end is None or space["id"] < end):
            yield space
