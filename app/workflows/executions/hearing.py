"""Tells the planner how steps ended: those that ran here, and those that ended somewhere else."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.artifacts.places import Part, place_of
from app.artifacts.store import ArtifactStore
from app.database.documents import Document
from app.errors import OrchestratorError
from app.jobs.models import Job, Status
from app.workflows.executions.drive import Drive
from app.workflows.executions.journal import Instance, Journal
from app.workflows.executions.rendering import FILE
from app.workflows.executions.values import JSON, ValueTooLarge, encoded
from app.workflows.places import step_at
from app.workflows.planner import End
from app.workflows.run import Execute
from app.workflows.view import Ended, Values, failed


@dataclass(slots=True)
class Hearing:
    journal: Journal
    artifacts: ArtifactStore
    expressions: Values
    wake: Callable[[str, str], Awaitable[None]]

    async def hear_local(self, drive: Drive, job: Job, execute: Execute) -> None:
        """After an attempt that was made here, whatever became of it."""
        if not drive.is_active:
            # Who drives it now reads how the step ended.
            return await self.wake(job.tenant_id, drive.execution.id)
        fields = drive.finished.pop(job.id, None)
        if fields is not None:
            document = {**job.document, **fields, "status": Status.COMPLETED.value, "attempt": job.attempt}
            return await self._tell(drive, execute, document)
        await drive.confirm()
        drive.away[execute.path] = None
        # Whether the last write was made is known to the store alone.
        if (found := await self.journal.find_ended(job.id)) is not None:
            await self._tell(drive, execute, found)
            await self.journal.hear({job.id: drive.take_seq()})
        return None

    async def hear_others(self, drive: Drive) -> bool:
        """Whether anything ended since the last look that the planner was not told."""
        documents = await self.journal.unheard(drive.execution.id, watched=drive.watched)
        ended_seqs: dict[str, int] = {}
        for document in documents:
            ended_seqs[document["_id"]] = drive.take_seq()
            drive.tally.charge(document["_id"], document["attempts"])
            execute = drive.run.find(document["path"])
            if execute is not None and document["series"] == drive.execution.document["series"]:
                await self._tell(drive, execute, document)
            drive.watched.discard(document["_id"])
        await self.journal.hear(ended_seqs)
        return bool(documents)

    def note_settled(self, drive: Drive) -> None:
        """Have stored what ended without having been carried out: skipped, blocked, or holding other steps."""
        for path, ended in drive.settled_since():
            drive.known.add(path)
            step = step_at(drive.plan, path)
            instance = Instance(path, step.kind if step else "step", drive.take_seq())
            drive.spawn(self._note(drive, instance, ended, drive.take_seq()))

    async def _note(self, drive: Drive, instance: Instance, ended: Ended, ended_seq: int) -> None:
        try:
            await self.journal.note(drive.execution, instance, ended, ended_seq)
        except ValueTooLarge:
            # Its parts are stored, from which it is made again.
            await self.journal.note(drive.execution, instance, replace(ended, output=None), ended_seq)

    async def with_artifacts(self, drive: Drive, execute: Execute, ended: Ended) -> Ended:
        """The values that the step keeps are kept; a failure when they cannot be computed."""
        if ended.end is not End.SUCCEEDED or not execute.step.artifacts:
            return ended
        view = execute.view.within()
        view.steps[execute.path.rpartition(".")[2].partition("[")[0]] = ended
        try:
            wanted: Mapping[str, Any] = self.expressions.render(execute.step.artifacts, view)
            texts = {name: encoded(value) for name, value in wanted.items() if not _is_file(value)}
        except OrchestratorError as error:
            return failed(error)
        execution, kept = drive.execution, {}
        place = place_of(execution.tenant_id, execution.id, Part.OUTPUTS)
        for name, text in texts.items():
            ref = await self.artifacts.put(place, text.encode(), JSON)
            kept[name] = {"sha256": ref.sha256, "size": ref.size, "media_type": JSON}
        drive.artifacts[execute.path] = kept
        return ended

    async def keep_artifacts(self, drive: Drive, path: str, others: Mapping[str, Any] | None = None) -> None:
        """Note what was kept beside the step that kept it, and ``others``."""
        if kept := drive.artifacts.pop(path, None):
            await self.journal.keep_artifacts(drive.execution, path, {**(others or {}), **kept})

    async def _tell(self, drive: Drive, execute: Execute, document: Document) -> None:
        known = await self.journal.ended_of(document)
        ended = await self.with_artifacts(drive, execute, known)
        if ended.end is not known.end:
            # Whoever reads it again has to come to the same.
            await self.journal.correct(document["_id"], ended)
        await self.keep_artifacts(drive, execute.path, document.get("artifacts"))
        drive.tell(execute.path, ended)


def _is_file(value: Any) -> bool:
    """Of a command, which keeps it itself."""
    return isinstance(value, dict) and value.keys() == {FILE}
