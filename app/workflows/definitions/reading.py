"""Reads documents of a tenant: sub-workflows are its own stored ones, each as it was pinned when it was stored."""

import asyncio

from app.errors import Invalid, NotFound
from app.ids import is_id
from app.workflows.definitions.models import WorkflowNotFound
from app.workflows.definitions.repository import DefinitionRepository
from app.workflows.language.checks.catalogue import Catalogue
from app.workflows.language.loading import Definition, load_workflow
from app.workflows.language.parts import Part, Resolver
from app.workflows.language.problems import Problem, WorkflowInvalid

# A document of a megabyte takes seconds of this process, in which its other requests are slower.
MOST_AT_ONCE = 2
# Of all sub-workflows together, for the same reason.
LARGEST_PARTS = 2 * 1024 * 1024
_BETWEEN = "@"


class DefinitionReader:
    def __init__(self, repository: DefinitionRepository, catalogue: Catalogue) -> None:
        self._repository = repository
        self._catalogue = catalogue
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def read(self, tenant_id: str, text: str) -> Definition:
        """Raises `WorkflowInvalid` with all problems of the document."""
        async with self._slots:
            definition = await asyncio.to_thread(
                load_workflow, text, source="workflow", resolve=self._resolver(tenant_id), catalogue=self._catalogue
            )
        if is_id(definition.workflow.name):
            fix = "choose a name that people can read"
            raise WorkflowInvalid([Problem(1, 1, "name", "a name must not look like an id", fix)])
        return definition

    async def read_version(self, tenant_id: str, name: str, digest: str) -> Definition:
        """One that was stored, with its sub-workflows as they were then. Raises `WorkflowNotFound`.

        It was checked then; that an agent has changed or left since is found out by the steps that call it.
        """
        version = await self._repository.find_version(tenant_id, name, digest)
        if version is None:
            raise WorkflowNotFound(f"the workflow {name!r} has no version {digest!r}", name=name)
        text, source = version.contents.source_text, f"{name}{_BETWEEN}{digest}"
        async with self._slots:
            return await asyncio.to_thread(
                load_workflow, text, source=source, resolve=self._resolver(tenant_id), caller=source
            )

    def _resolver(self, tenant_id: str) -> Resolver:
        """For the thread that reads; the store is asked from this loop."""
        loop = asyncio.get_running_loop()
        # Thousands of steps may call the same one.
        found: dict[tuple[str, str | None], Part] = {}

        def resolve(reference: str, caller: str | None) -> Part:
            if (reference, caller) not in found:
                part = asyncio.run_coroutine_threadsafe(self._part(tenant_id, reference, caller), loop).result()
                if sum(len(one.text) for one in (*found.values(), part)) > LARGEST_PARTS:
                    raise Invalid(f"its sub-workflows have more than {LARGEST_PARTS} characters together")
                found[reference, caller] = part
            return found[reference, caller]

        return resolve

    async def _part(self, tenant_id: str, reference: str, caller: str | None) -> Part:
        name, digest = await self._pinned(tenant_id, reference, caller)
        version = await self._repository.find_version(tenant_id, name, digest)
        if version is None:
            raise _not_stored(reference)
        return Part(version.contents.source_text, f"{name}{_BETWEEN}{digest}")

    async def _pinned(self, tenant_id: str, reference: str, caller: str | None) -> tuple[str, str]:
        """Name and digest of what a document calls; ``caller`` is the stored version that it is, if it is one."""
        if caller is not None:
            name, _, digest = caller.partition(_BETWEEN)
            version = await self._repository.find_version(tenant_id, name, digest)
            pins = {pin.reference: (pin.name, pin.digest) for pin in version.contents.parts} if version else {}
            if reference in pins:
                return pins[reference]
        elif not is_id(reference) and (workflow := await self._repository.find(tenant_id, reference)):
            return workflow.name, workflow.digest
        raise _not_stored(reference)


def _not_stored(reference: str) -> NotFound:
    return WorkflowNotFound(f"no workflow {reference!r} is stored; store it first and call it by its name")
