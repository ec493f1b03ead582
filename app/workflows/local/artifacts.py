"""What a step keeps besides its output: values, and files of the run's work folder."""

from collections.abc import Mapping
from typing import Any

from app.hash_chain import canonical
from app.workflows.local.evidence import JSON_TYPE, TENANT, Evidence
from app.workflows.planner import End
from app.workflows.run import Execute
from app.workflows.steps.files import read_file
from app.workflows.view import Ended, Values

_FILE = "file"


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
        data, media_type = read_file(evidence.work, name, str(value[_FILE]))
    else:
        data, media_type = canonical(value), JSON_TYPE
    kept = await evidence.artifacts.put(TENANT, data, media_type)
    return {"sha256": kept.sha256, "size": kept.size, "media_type": media_type}
