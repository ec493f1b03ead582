"""Documents to definitions: read, checked with all that they call, compiled and pinned by digest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from app.errors import Invalid, NotFound
from app.field_problems import field_problems, located
from app.source_problems import Positions, Problem, path_text
from app.source_tree import Path
from app.workflows.language.checks.catalogue import Catalogue
from app.workflows.language.checks.document import check_workflow
from app.workflows.language.digests import definition_digest
from app.workflows.language.models import Workflow
from app.workflows.language.parts import Part, Resolver, calls_of
from app.workflows.language.problems import WorkflowInvalid
from app.workflows.language.repair import Unrepairable, owner_of, repaired
from app.workflows.language.short_form import is_short, translated
from app.workflows.language.source import mapping_of, read_document
from app.workflows.plan import Plan, compile_plan

MOST_PARTS = 100
DEEPEST_CALL = 16


@dataclass(frozen=True, slots=True)
class Definition:
    """``document`` is in the strict form, whichever was written; ``parts`` are by what steps call them."""

    workflow: Workflow
    plan: Plan
    source: str
    source_text: str
    document: Mapping[str, Any]
    parts: Mapping[str, "Definition"]

    @property
    def digest(self) -> str:
        """Changes with the document and with everything that it calls, directly or not."""
        return self.plan.digest

    def as_json(self) -> dict[str, Any]:
        """What evidence keeps of it: enough to compute the digest again."""
        return {
            "source": self.source,
            "digest": self.digest,
            "document": self.document,
            "source_text": self.source_text,
            "parts": {name: part.as_json() for name, part in self.parts.items()},
        }


def load_workflow(
    text: str | bytes,
    *,
    source: str,
    resolve: Resolver,
    catalogue: Catalogue | None = None,
    caller: str | None = None,
) -> Definition:
    """Raises `WorkflowInvalid` with all problems of the document and of what it calls.

    ``caller`` is what ``resolve`` is told that the document itself is.
    """
    loader = _Loader(resolve, catalogue)
    definition = loader.load(Part(text, source), caller, ())
    if loader.problems or definition is None:
        raise WorkflowInvalid(loader.problems, source=source)
    return definition


def part_names(text: str | bytes) -> list[str]:
    """What the document calls by `workflow:`; empty when it is invalid."""
    try:
        workflow = _read(Part(text, "")).workflow
    except WorkflowInvalid:
        return []
    return list(dict.fromkeys(name for _, name in calls_of(workflow))) if workflow else []


@dataclass(frozen=True, slots=True)
class _Reading:
    """A document with the problems of its fields; ``broken`` are the steps that they are in."""

    document: Mapping[str, Any]
    positions: Positions
    workflow: Workflow | None
    problems: Sequence[Problem] = ()
    broken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Call:
    """A document on the way to others. ``chain`` are the sources and names of what calls it, itself at the end."""

    reading: _Reading
    workflow: Workflow
    origin: str | None
    chain: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Loader:
    resolve: Resolver
    catalogue: Catalogue | None
    problems: list[Problem] = field(default_factory=list)
    loaded: dict[str, Definition | None] = field(default_factory=dict)

    def load(self, part: Part, origin: str | None, chain: tuple[tuple[str, str], ...]) -> Definition | None:
        """None when it, or what it calls, is invalid. ``origin`` is its source; None for the document itself."""
        try:
            reading = _read(part)
        except WorkflowInvalid as error:
            self._note(error.problems, origin)
            return None
        self._note(reading.problems, origin)
        if reading.workflow is None:
            return None
        name = reading.workflow.name
        if name in (other for _, other in chain):
            self._note([_circular(reading.positions, ("name",), chain, name)], origin)
            return None
        call = _Call(reading, reading.workflow, origin, (*chain, (part.source, name)))
        parts = self._parts(call)
        found = _meant(call, parts, self.catalogue)
        self._note(found, origin)
        complete = {reference: one for reference, one in parts.items() if one is not None}
        if found or reading.problems or len(complete) < len(parts):
            return None
        return _compiled(part, reading.document, reading.workflow, complete)

    def _parts(self, call: _Call) -> dict[str, Definition | None]:
        parts: dict[str, Definition | None] = {}
        for path, reference in calls_of(call.workflow):
            if reference not in parts:
                parts[reference] = self._part(call, path, reference)
        return parts

    def _part(self, call: _Call, path: Path, reference: str) -> Definition | None:
        positions = call.reading.positions
        try:
            part = self.resolve(reference, call.origin)
        except (NotFound, Invalid) as error:
            self._note([positions.problem(path, error.message)], call.origin)
            return None
        if part.source in (source for source, _ in call.chain):
            self._note([_circular(positions, path, call.chain, call.workflow.name)], call.origin)
            return None
        if part.source not in self.loaded:
            if len(self.loaded) >= MOST_PARTS or len(call.chain) >= DEEPEST_CALL:
                message = f"at most {MOST_PARTS} sub-workflows, {DEEPEST_CALL} within each other, are loaded"
                self._note([positions.problem(path, message)], call.origin)
                return None
            self.loaded[part.source] = self.load(part, part.source, call.chain)
        return self.loaded[part.source]

    def _note(self, problems: Iterable[Problem], origin: str | None) -> None:
        self.problems += [replace(problem, source=origin or "") for problem in problems]


def _read(part: Part) -> _Reading:
    """Raises `WorkflowInvalid` for what is no document at all."""
    tree = read_document(part.text, source=part.source)
    document, positions = mapping_of(tree, source=part.source), Positions(tree.places)
    if is_short(document):
        document, positions = translated(document, positions, source=part.source)
    try:
        workflow = Workflow.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = field_problems(error, Workflow, document, positions)
        broken = frozenset(path_text(owner_of(path)) for path, _ in located(error, document))
        return _Reading(document, positions, _repaired(document, error), problems, broken)
    return _Reading(document, positions, workflow)


def _repaired(document: dict[str, Any], error: ValidationError) -> Workflow | None:
    try:
        return repaired(document, error)
    except Unrepairable:
        return None


def _meant(call: _Call, parts: Mapping[str, Definition | None], catalogue: Catalogue | None) -> list[Problem]:
    """What is wrong between the parts of the document, outside of steps whose fields are wrong already."""
    workflows = {reference: part.workflow for reference, part in parts.items() if part is not None}
    problems = check_workflow(call.workflow, call.reading.positions, catalogue, workflows)
    broken = call.reading.broken
    return [one for one in problems if not any(_is_within(one.path, owner) for owner in broken)]


def _is_within(path: str, owner: str) -> bool:
    return path == owner or path.startswith((f"{owner}.", f"{owner}["))


def _circular(positions: Positions, path: Path, chain: tuple[tuple[str, str], ...], name: str) -> Problem:
    told = " → ".join([*(other for _, other in chain), name])
    return positions.problem(path, f"a workflow cannot call itself: {told}", "use a `loop`, or give it another name")


def _compiled(
    part: Part, document: Mapping[str, Any], workflow: Workflow, parts: Mapping[str, Definition]
) -> Definition:
    text = part.text if isinstance(part.text, str) else part.text.decode("utf-8-sig")
    plans = {reference: one.plan for reference, one in parts.items()}
    digest = definition_digest(workflow, {reference: plan.digest for reference, plan in plans.items()})
    return Definition(workflow, compile_plan(workflow, digest, plans), part.source, text, document, parts)
