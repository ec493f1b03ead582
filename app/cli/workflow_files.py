"""Workflow documents as the command line names them: files, and `library:NAME` for those of the product."""

from dataclasses import asdict, dataclass
from pathlib import Path

from app.agents.registry import build_registry
from app.cli.server import Json
from app.errors import Invalid
from app.settings import load_settings
from app.workflows.language.loading import Definition, load_workflow
from app.workflows.language.parts import FileParts
from app.workflows.language.problems import WorkflowInvalid
from app.workflows.language.source import LIMITS
from app.workflows.shelf import PREFIX, library_file


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    path: Path
    text: str

    @property
    def media_type(self) -> str:
        return "application/json" if self.path.suffix == ".json" else "application/yaml"


def read_file(name: str) -> WorkflowFile:
    """Raises `Invalid` when it cannot be read, `NotFound` for a name that the library does not have."""
    path = library_file(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else Path(name)
    try:
        with path.open("rb") as file:
            content = file.read(LIMITS.size + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise Invalid(f"{name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{name}: it is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    return WorkflowFile(path, text)


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
        problems = [asdict(problem) for problem in error.problems]
        return {"valid": False, "name": None, "digest": None, "problems": problems}
    return {"valid": True, "name": definition.workflow.name, "digest": definition.digest, "problems": []}
