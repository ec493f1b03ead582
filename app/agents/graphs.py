"""Agents whose work is a LangGraph graph: a run goes on behind the last node that finished, also in another process.

A node that asks a model also checks the answer, so that a checkpoint only ever holds work that can be built upon.
"""

import asyncio
import dataclasses
import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, ClassVar, Generic, TypedDict, TypeVar, cast, get_args, get_type_hints, is_typeddict

import structlog
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.checkpoints.errors import CheckpointUnusable
from app.checkpoints.service import AgentCheckpoints

log = structlog.get_logger(__name__)


class AgentState(TypedDict):
    """What every state has; an agent adds what its nodes find out, with `total=False`."""

    task: str


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What a node is given besides the state, as `runtime.context`. None of it is saved."""

    request: AgentRequest
    tools: AgentTools


S = TypeVar("S", bound=AgentState)
Graph = StateGraph[Any, Work, Any, Any]
Compiled = CompiledStateGraph[Any, Work, Any, Any]


class GraphAgent(BaseAgent, Generic[S]):
    """Name the state, write `build` and `output`; resuming comes with it.

    The state is stored: it may hold plain data, and the dataclasses, Pydantic models and enums its annotations name.
    """

    state: ClassVar[type[Any]]

    def __init__(self) -> None:
        graph = Graph(self.state, context_schema=Work)
        self.build(graph)
        self._compiled: Compiled = graph.compile(name=type(self).__name__)
        self._types = tuple(_types_in(self.state, set()))
        self._shape = _shape_of(graph, self.state, self._types)

    @abstractmethod
    def build(self, graph: Graph) -> None:
        """Add nodes and edges, every conditional edge with an explicit map."""

    @abstractmethod
    def output(self, state: S) -> AgentOutput:
        """The answer, from the state behind the last node. A later attempt may ask again, so it only arranges."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        work = Work(request, tools)
        if tools.checkpoints is None:
            state = await self._compiled.ainvoke({"task": request.text}, context=work)
        else:
            state = await self._run_saved(work, tools.checkpoints)
        # Arranging the longest answers takes longer than the event loop may stand still.
        return await asyncio.to_thread(self.output, cast("S", state))

    async def _run_saved(self, work: Work, checkpoints: AgentCheckpoints) -> Any:
        thread, saver = checkpoints.open(shape=self._shape, types=self._types)
        graph = self._compiled.copy({"checkpointer": saver})
        config: Any = {"configurable": {"thread_id": checkpoints.thread_id}}
        try:
            if await thread.load() and not await _is_refused(graph, config, work):
                # Without input a thread goes on where it was.
                return await graph.ainvoke(None, config, context=work, durability="sync")
        except CheckpointUnusable as error:
            log.warning("agent.checkpoint_unusable", reason=error.message)
        if thread.is_stored:
            await thread.forget()
        return await graph.ainvoke({"task": work.request.text}, config, context=work, durability="sync")


async def _is_refused(graph: Compiled, config: Any, work: Work) -> bool:
    """Whether the thread ended in an answer that was refused afterwards: going on would give that one again."""
    return work.request.feedback is not None and not (await graph.aget_state(config)).next


def _types_in(annotation: Any, seen: set[Any]) -> Iterator[type]:
    """The classes of which values may be in what is annotated so, each once."""
    if annotation in seen:
        return
    seen.add(annotation)
    if _is_stored_by_name(annotation):
        yield annotation
    parts: Iterable[Any] = get_args(annotation)
    if is_typeddict(annotation) or _is_stored_by_name(annotation):
        parts = get_type_hints(annotation).values()
    for part in parts:
        yield from _types_in(part, seen)


def _is_stored_by_name(annotation: Any) -> bool:
    return isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation) or issubclass(annotation, BaseModel | Enum)
    )


def _shape_of(graph: Graph, state: type[Any], types: Iterable[type]) -> str:
    """Differs between graphs that could not go on with each other's state."""
    described = [
        *sorted(graph.nodes),
        *sorted(map(repr, graph.edges | graph.waiting_edges)),
        *sorted(f"{name}{sorted(branches)}" for name, branches in graph.branches.items()),
        *(f"{name}: {kind!r}" for one in (state, *types) for name, kind in get_type_hints(one).items()),
    ]
    return hashlib.blake2s("\n".join(described).encode(), digest_size=12).hexdigest()
