"""Workflow documents as the command line names them: files, and `library:NAME` for those of the product."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.agents.registry import build_registry
from app.cli.server import Json
from app.errors import Invalid, NotFound
from app.settings import load_settings
from app.workflows.language.loading import DEEPEST_CALL, MOST_PARTS, Definition, load_workflow, part_names
from app.workflows.language.parts import FileParts, Part
from app.workflows.language.problems import WorkflowInvalid
from app.workflows.language.source import LIMITS
from app.workflows.shelf import PREFIX, library_file


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """``calls`` are the files among what its steps call, by what these say; empty where nobody looked for them."""

    path: Path
    text: str
    calls: Mapping[str, Path] = field(default_factory=dict)

    @property
    def media_type(self) -> str:
        return "application/json" if self.path.suffix == ".json" else "application/yaml"


def read_file(name: str) -> WorkflowFile:
    """Raises `Invalid` when it cannot be read, `NotFound` for a name that the library does not have."""
    path = library_file(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else Path(name)
    try:
        with path.open("rb") as file:
            content = file.read(LIMITS.size + 1)
    except OSError as error:
        raise Invalid(f"{name}: {error.strerror}") from error
    return WorkflowFile(path, _decoded(content, name))


def read_with_parts(name: str) -> list[WorkflowFile]:
    """A document and the files that it calls, directly or not: each once, before those that call it.

    What is no file beside its caller is not among them. Raises what `read_file` does, and `WorkflowInvalid` for
    documents that call each other in a circle, or are too many.
    """
    file = read_file(name)
    folder = FileParts(file.path.parent)
    found: dict[str, WorkflowFile] = {}
    if not _follow(Part(file.text, file.path.name), (), folder, found):
        load_workflow(file.text, source=file.path.name, resolve=folder)
        raise Invalid(f"{name}: what it calls was changed while it was read; try again")
    return list(found.values())


def _follow(part: Part, chain: tuple[str, ...], folder: FileParts, found: dict[str, WorkflowFile]) -> bool:
    """False when there is no end to what it calls."""
    chain, calls = (*chain, part.source), dict[str, Path]()
    for reference in part_names(part.text):
        if (called := _beside(folder, reference, part.source)) is None:
            continue
        if called.source not in found:
            is_endless = called.source in chain or len(chain) >= DEEPEST_CALL or len(found) >= MOST_PARTS
            if is_endless or not _follow(called, chain, folder, found):
                return False
        calls[reference] = Path(called.source)
    found[part.source] = WorkflowFile(Path(part.source), _decoded(part.text, part.source), calls)
    return True


def _beside(folder: FileParts, reference: str, caller: str) -> Part | None:
    try:
        return folder(reference, caller)
    except NotFound:
        return None


def _decoded(content: str | bytes, name: str) -> str:
    try:
        return content if isinstance(content, str) else content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{name}: it is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def load_file(name: str) -> Definition:
    """With its sub-workflows from the same folder, checked against this installation's agents.

    Raises `WorkflowInvalid` with all problems.
    """
    file = read_file(name)
    registry = build_registry(load_settings())
    return load_workflow(file.text, source=str(file.path), resolve=FileParts(file.path.parent), catalogue=registry)


def validate_file(name: str) -> Json:
    """As a server answers it."""
    try:
        definition = load_file(name)
    except WorkflowInvalid as error:
        return refusal(error)
    return {"valid": True, "name": definition.workflow.name, "digest": definition.digest, "problems": []}


def refusal(error: WorkflowInvalid) -> Json:
    """As a server answers that a document is not valid."""
    problems = [asdict(problem) for problem in error.problems]
    return {"valid": False, "name": None, "digest": None, "problems": problems}
