"""What a step keeps besides its output: values, and files of the run's work folder."""

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.errors import Invalid
from app.workflows.local.evidence import JSON_TYPE, TENANT, Evidence
from app.workflows.local.journal import canonical
from app.workflows.planner import End
from app.workflows.run import Execute
from app.workflows.view import Ended, Values

LARGEST_FILE = 100 * 1024 * 1024
_FILE = "file"
_UNKNOWN = "application/octet-stream"


async def kept_artifacts(execute: Execute, output: Any, values: Values, evidence: Evidence) -> dict[str, Any]:
    """By name. The step sees its own output. Raises `Invalid` for a file that is not there, or not in the folder."""
    if not execute.step.artifacts:
        return {}
    view = execute.view.within()
    view.steps[execute.path.rpartition(".")[2].partition("[")[0]] = Ended(End.SUCCEEDED, output)
    wanted: Mapping[str, Any] = values.render(execute.step.artifacts, view)
    return {name: await _kept(name, value, evidence) for name, value in wanted.items()}


async def _kept(name: str, value: Any, evidence: Evidence) -> dict[str, Any]:
    if isinstance(value, dict) and value.keys() == {_FILE}:
        path = file_in(evidence.work, name, str(value[_FILE]))
        data, media_type = path.read_bytes(), mimetypes.guess_type(path.name)[0] or _UNKNOWN
    else:
        data, media_type = canonical(value), JSON_TYPE
    kept = await evidence.artifacts.put(TENANT, data, media_type)
    return {"sha256": kept.sha256, "size": kept.size, "media_type": media_type}


def file_in(folder: Path, name: str, relative: str) -> Path:
    """A file below the folder, wherever links lead. Raises `Invalid`."""
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise Invalid(f"artifact {name!r}: there is no such file in the work folder of the run")
    if path.stat().st_size > LARGEST_FILE:
        raise Invalid(f"artifact {name!r}: the file has more than {LARGEST_FILE} bytes")
    return path
