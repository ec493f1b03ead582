"""Runs as they lie in their folder: begun, opened again, and taken over by a fork."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from app.clock import Clock
from app.errors import Conflict, NotFound
from app.hash_chain import Event
from app.ids import is_id, new_trace_id
from app.workflows.local.evidence import TENANT, Evidence, Ref, write_json
from app.workflows.local.history import History
from app.workflows.local.journal import Journal, read_journal
from app.workflows.local.receipts import receipt_of
from app.workflows.plan import Plan
from app.workflows.planner import End
from app.workflows.replaying import ends_before
from app.workflows.view import Ended, Fault

Watch = Callable[[Event, History], None]


class RunNotFound(NotFound):
    code = "RUN_NOT_FOUND"
    title = "Run not found"


class RunChanged(Conflict):
    """The workflow is another one than the run began with."""

    code = "WORKFLOW_MISMATCH"
    title = "Workflow mismatch"


@dataclass(frozen=True, slots=True)
class Beginning:
    """``definition`` is shown and kept; ``source`` is where a resume looks for it again."""

    execution_id: str
    workflow: str
    digest: str
    source: str
    inputs: Mapping[str, Any]
    definition: Mapping[str, Any]
    forked_from: Mapping[str, Any] | None = None


class OpenRun:
    """The folder of a run while one process works on it. Every event is written before anybody acts on it."""

    def __init__(self, evidence: Evidence, journal: Journal, history: History, events: list[Event]) -> None:
        self.evidence = evidence
        self.history = history
        self._journal = journal
        self._events = events
        self.watch: Watch | None = None

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, clock: Clock) -> Iterator[Self]:
        """Raises `EvidenceCorrupt`."""
        evidence = Evidence(folder)
        evidence.create()
        journal, events = Journal.open(evidence.events, clock=clock)
        try:
            yield cls(evidence, journal, History.of(events), events)
        finally:
            journal.close()

    def note(self, event: str, **content: Any) -> None:
        line = self._journal.append(event, **content)
        self._events.append(line)
        self.history.apply(line)
        if self.watch is not None:
            self.watch(line, self.history)

    async def begin(self, beginning: Beginning) -> None:
        write_json(self.evidence.definition, beginning.definition)
        inputs = await self.evidence.put(self.evidence.inputs, beginning.inputs)
        self.note(
            "run.created",
            execution_id=beginning.execution_id,
            workflow=beginning.workflow,
            digest=beginning.digest,
            source=beginning.source,
            inputs=asdict(inputs),
            tenant=TENANT,
            trace_id=new_trace_id(),
            forked_from=beginning.forked_from,
        )

    def resume(self, digest: str, definition: Mapping[str, Any]) -> None:
        """Keep what it goes on with when that is another definition than the run began with."""
        path = self.evidence.definition_of(digest, first=self.history.created["digest"])
        if not path.exists():
            write_json(path, definition)
        self.note("run.resumed", digest=digest)

    async def inputs(self) -> Mapping[str, Any]:
        given = self.history.created["inputs"]
        inputs: Mapping[str, Any] = await self.evidence.get(self.evidence.inputs, Ref(given["sha256"], given["size"]))
        return inputs

    async def ends(self) -> AsyncIterator[tuple[str, Ended]]:
        """How the steps ended that were carried out, in that order. Raises `EvidenceCorrupt`."""
        for path in self.history.told:
            yield path, await ended_of(self.evidence, self.history, path)

    def save(self) -> None:
        """What readers look at; the journal has it already."""
        write_json(self.evidence.state, self.history.as_state())

    def seal(self) -> None:
        """The receipt of a run that has ended."""
        self._journal.sync()
        write_json(self.evidence.receipt, receipt_of(self._events))
        self.save()

    async def take_over(self, source: Evidence, plan: Plan, step: str) -> None:
        """The outputs of another run of this workflow, of steps that are neither ``step`` nor need it."""
        history = History.of(read_journal(source.events))
        ends = [(path, await ended_of(source, history, path)) for path in history.told]
        for path, ended in ends_before(plan, step, ends):
            if ended.end.lets_on:
                await self._adopt(history, path, ended)

    async def _adopt(self, history: History, path: str, ended: Ended) -> None:
        folder = self.evidence.step(path)
        ref = None if ended.output is None else await self.evidence.put(folder / "output.json", ended.output)
        self.note(
            "step.ended",
            path=path,
            kind=history.steps[path].kind,
            end=ended.end.value,
            error=history.steps[path].error,
            output=asdict(ref) if ref else None,
            reused_from=history.execution_id,
        )


async def ended_of(evidence: Evidence, history: History, path: str) -> Ended:
    """How a step ended, by what was recorded of it. Raises `EvidenceCorrupt`."""
    step = history.steps[path]
    output = await evidence.get(evidence.step(path) / "output.json", step.output) if step.output else None
    error = Fault(step.error["type"], step.error["message"]) if step.error else None
    return Ended(End(step.end or End.FAILED), output, error, max(len(step.attempts), 1))


def folder_of(root: Path, execution_id: str) -> Path:
    """Raises `RunNotFound`."""
    folder = root / execution_id
    if not is_id(execution_id) or not (folder / "events.jsonl").is_file():
        raise RunNotFound(f"there is no run {execution_id[:80]!r} under {root}: `orchestrate report` lists them")
    return folder
