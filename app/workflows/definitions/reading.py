"""Reads documents of a tenant: sub-workflows are its own stored ones, each as it was pinned when it was stored."""

import asyncio
from collections.abc import Mapping, Sequence

from app.errors import Invalid, NotFound
from app.ids import is_id
from app.source_problems import Problem
from app.workflows.definitions.models import Pin, WorkflowNotFound
from app.workflows.definitions.repository import DefinitionRepository
from app.workflows.language.checks.catalogue import Catalogue
from app.workflows.language.loading import Definition, load_workflow
from app.workflows.language.parts import Part, Resolver
from app.workflows.language.problems import WorkflowInvalid

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

    async def read(self, tenant_id: str, text: str, parts: Sequence[Pin] = ()) -> Definition:
        """What the document calls is the version that ``parts`` say, or else the current one of a stored workflow.

        Raises `WorkflowInvalid` with all problems of the document, and `Invalid` for a part that it does not call.
        """
        resolve = self._resolver(tenant_id, {pin.reference: pin for pin in parts})
        async with self._slots:
            definition = await asyncio.to_thread(
                load_workflow, text, source="workflow", resolve=resolve, catalogue=self._catalogue
            )
        if uncalled := [pin.reference for pin in parts if pin.reference not in definition.parts]:
            raise Invalid(f"the document does not call {uncalled[0]!r}; leave this part out", field="part")
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
                load_workflow, text, source=source, resolve=self._resolver(tenant_id, {}), caller=source
            )

    def _resolver(self, tenant_id: str, pins: Mapping[str, Pin]) -> Resolver:
        """For the thread that reads; the store is asked from this loop. ``pins`` are those of the document itself."""
        loop = asyncio.get_running_loop()
        # Thousands of steps may call the same one.
        found: dict[tuple[str, str | None], Part] = {}

        def resolve(reference: str, caller: str | None) -> Part:
            if (reference, caller) not in found:
                pin = pins.get(reference) if caller is None else None
                asked = self._given(tenant_id, pin) if pin else self._part(tenant_id, reference, caller)
                part = asyncio.run_coroutine_threadsafe(asked, loop).result()
                if sum(len(one.text) for one in (*found.values(), part)) > LARGEST_PARTS:
                    raise Invalid(f"its sub-workflows have more than {LARGEST_PARTS} characters together")
                found[reference, caller] = part
            return found[reference, caller]

        return resolve

    async def _given(self, tenant_id: str, pin: Pin) -> Part:
        part = await self._find(tenant_id, pin.name, pin.digest)
        if part is None:
            fix = "store it first, and give the digest that the answer says"
            raise WorkflowNotFound(f"the workflow {pin.name!r} has no version {pin.digest!r}; {fix}", name=pin.name)
        return part

    async def _part(self, tenant_id: str, reference: str, caller: str | None) -> Part:
        part = await self._find(tenant_id, *await self._pinned(tenant_id, reference, caller))
        if part is None:
            raise _not_stored(reference)
        return part

    async def _find(self, tenant_id: str, name: str, digest: str) -> Part | None:
        version = await self._repository.find_version(tenant_id, name, digest)
        return Part(version.contents.source_text, f"{name}{_BETWEEN}{digest}") if version else None

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
