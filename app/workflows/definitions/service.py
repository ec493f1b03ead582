"""The use cases of stored workflows: store a version, validate a document, read, list and delete."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from app.http.pagination import MOST_COUNTED, Page, PageParams
from app.workflows.definitions.graph import graph_of
from app.workflows.definitions.interface import inputs_of, outputs_of
from app.workflows.definitions.models import (
    Contents,
    Pin,
    Release,
    SourceFormat,
    StoredWorkflow,
    Version,
    WorkflowChanged,
    WorkflowNotFound,
)
from app.workflows.definitions.reading import DefinitionReader
from app.workflows.definitions.repository import DefinitionRepository
from app.workflows.language.loading import Definition

MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Written:
    """A document as somebody sends it; ``parts`` are the versions that it calls otherwise than by stored names."""

    text: str
    source_format: SourceFormat
    parts: Sequence[Pin] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A version; ``releases`` are the newest ones.

    ``workflow`` is None for one that was kept while its name stood for nothing.
    """

    workflow: StoredWorkflow | None
    version: Version
    releases: list[Release]


@dataclass(frozen=True, slots=True)
class Stored:
    """``is_new`` is False when this version was stored before."""

    found: Found
    is_new: bool


class DefinitionService:
    """Each method that takes a ``reference``, an id or a name, raises `WorkflowNotFound`."""

    def __init__(self, repository: DefinitionRepository, reader: DefinitionReader) -> None:
        self._repository = repository
        self._reader = reader

    async def validate(self, tenant_id: str, document: Written) -> Definition:
        """What would be stored. Raises `WorkflowInvalid` with all problems, `Invalid` for a part that is not called."""
        return await self._reader.read(tenant_id, document.text, document.parts)

    async def keep(self, tenant_id: str, document: Written, *, by: str) -> Stored:
        """Store this document as a version for others to call; what its name stands for stays.

        Raises what `validate` does.
        """
        contents = _contents(await self.validate(tenant_id, document), document)
        is_new = await self._repository.keep_version(tenant_id, contents, by=by)
        workflow = await self._repository.find(tenant_id, contents.name)
        return Stored(await self._found(tenant_id, workflow, contents.name, contents.digest), is_new)

    async def put(self, tenant_id: str, document: Written, *, by: str, expected: str | None = None) -> Stored:
        """Make this document the current version of the workflow that it names; the same one again changes nothing.

        Raises what `validate` does, and `WorkflowChanged` when ``expected`` is not the current version so far.
        """
        contents = _contents(await self.validate(tenant_id, document), document)
        if expected is not None:
            # Here as well, so that what is refused is not kept.
            await self._check_current(tenant_id, contents.name, expected)
        # The version first: after a crash in between the name still stands for one that is there.
        await self._repository.keep_version(tenant_id, contents, by=by)
        made = await self._repository.make_current(tenant_id, contents, by=by, expected=expected)
        if made is None:
            raise _changed(contents.name)
        workflow, was_free = made
        is_new = await self._repository.release(tenant_id, contents)
        found = await self._found(tenant_id, workflow, contents.name, contents.digest)
        return Stored(found, is_new or was_free)

    async def get(self, tenant_id: str, reference: str, *, digest: str | None = None) -> Found:
        """The current version, or the one with that digest."""
        workflow = await self._get_workflow(tenant_id, reference)
        return await self._found(tenant_id, workflow, workflow.name, digest or workflow.digest)

    async def list_page(self, tenant_id: str, params: PageParams) -> Page[StoredWorkflow]:
        found, total = await asyncio.gather(
            self._repository.list_page(tenant_id, limit=params.page_size + 1, skip=params.skip, after=params.after),
            self._repository.count(tenant_id, limit=MOST_COUNTED),
        )
        return Page.of(found, params, total=total)

    async def list_versions(
        self, tenant_id: str, reference: str, params: PageParams
    ) -> tuple[StoredWorkflow, Page[Release]]:
        workflow = await self._get_workflow(tenant_id, reference)
        limit, skip, after = params.page_size + 1, params.skip, params.after
        found, total = await asyncio.gather(
            self._repository.list_versions(tenant_id, workflow, limit=limit, skip=skip, after=after),
            self._repository.count_versions(tenant_id, workflow, limit=MOST_COUNTED),
        )
        return workflow, Page.of(found, params, total=total)

    async def delete(self, tenant_id: str, reference: str, *, by: str) -> None:
        """The name stands for nothing any more. Its versions stay, since executions and other workflows use them."""
        workflow = await self._get_workflow(tenant_id, reference)
        if not await self._repository.delete(tenant_id, workflow, by=by):
            raise _not_found(reference)

    async def _get_workflow(self, tenant_id: str, reference: str) -> StoredWorkflow:
        workflow = await self._repository.find(tenant_id, reference)
        if workflow is None:
            raise _not_found(reference)
        return workflow

    async def _found(self, tenant_id: str, workflow: StoredWorkflow | None, name: str, digest: str) -> Found:
        version, releases = await asyncio.gather(
            self._repository.find_version(tenant_id, name, digest), self._list_newest(tenant_id, workflow)
        )
        if version is None:
            raise WorkflowNotFound(f"the workflow {name!r} has no version {digest!r}", name=name)
        return Found(workflow, version, releases)

    async def _list_newest(self, tenant_id: str, workflow: StoredWorkflow | None) -> list[Release]:
        return await self._repository.list_versions(tenant_id, workflow, limit=MOST_SHOWN) if workflow else []

    async def _check_current(self, tenant_id: str, name: str, expected: str) -> None:
        workflow = await self._repository.find(tenant_id, name)
        if workflow is None or workflow.digest != expected:
            raise _changed(name)


def _contents(definition: Definition, written: Written) -> Contents:
    workflow = definition.workflow
    return Contents(
        name=workflow.name,
        digest=definition.digest,
        description=workflow.description,
        source_format=written.source_format,
        source_text=written.text,
        document=dict(definition.document),
        graph=graph_of(workflow),
        inputs=inputs_of(workflow),
        outputs=outputs_of(workflow),
        parts=tuple(
            Pin(reference, part.workflow.name, part.digest) for reference, part in sorted(definition.parts.items())
        ),
    )


def _not_found(reference: str) -> WorkflowNotFound:
    return WorkflowNotFound(f"no workflow {reference!r}", reference=reference)


def _changed(name: str) -> WorkflowChanged:
    return WorkflowChanged(
        f"the workflow {name!r} has another version than If-Match says; read it, then send what it should be", name=name
    )
