"""Brings documents to a server, with the files that they call: these first, each pinned by what calls it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.cli.server import Json, Server
from app.cli.workflow_files import WorkflowFile, read_with_parts, refusal
from app.source_problems import Problem
from app.workflows.definitions.models import Pin
from app.workflows.definitions.pins import pin_text
from app.workflows.language.problems import WorkflowInvalid

_STORED_ALONE = {"current": "false"}


async def store_document(asked: Server, name: str, *, expected: str | None = None) -> Json:
    """Make it the current version of the workflow that it names; the files that it calls are of no name's current one.

    Raises `WorkflowInvalid` for such a file that is not valid on the server.
    """
    *parts, document = read_with_parts(name)
    return await _send(asked, document, await _store_parts(asked, parts), expected=expected)


async def validate_document(asked: Server, name: str) -> Json:
    """What the server says of it; it has the files that a valid document calls from then on."""
    try:
        *parts, document = read_with_parts(name)
        return await _send(asked, document, await _store_parts(asked, parts), "validate")
    except WorkflowInvalid as error:
        return refusal(error)


async def _store_parts(asked: Server, parts: Sequence[WorkflowFile]) -> dict[Path, Json]:
    """What the server answered, by the file."""
    stored: dict[Path, Json] = {}
    for part in parts:
        found = await _send(asked, part, stored, "validate")
        if not found.get("valid"):
            raise WorkflowInvalid([_problem(one, part) for one in found.get("problems") or ()], source=str(part.path))
        stored[part.path] = await _send(asked, part, stored, query=_STORED_ALONE)
    return stored


async def _send(
    asked: Server,
    file: WorkflowFile,
    stored: Mapping[Path, Json],
    *path: str,
    query: Mapping[str, str] | None = None,
    expected: str | None = None,
) -> Json:
    pins = [Pin(called, stored[at]["name"], stored[at]["digest"]) for called, at in file.calls.items()]
    asking = {**(query or {}), "part": [pin_text(pin) for pin in pins]}
    return await asked.post_text(
        "workflows", *path, text=file.text, media_type=file.media_type, query=asking, expected=expected
    )


def _problem(found: Json, part: WorkflowFile) -> Problem:
    line, column, path, message = (found[name] for name in ("line", "column", "path", "message"))
    return Problem(line, column, path, message, found.get("fix"), found.get("source") or part.path.as_posix())
