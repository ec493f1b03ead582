"""The steps beside a step: those of its scope."""

from app.workflows.language.models import Step
from app.workflows.run import Execute


def sibling(execute: Execute, name: str) -> Step | None:
    """The step of that name in the scope of this one."""
    owners = [step for _, step in execute.around if step is not execute.step]
    inside = owners[-1] if owners else None
    if inside is None or inside.workflow is not None:
        bodies = [execute.workflow.steps, execute.workflow.finally_]
    else:
        cases = [*(inside.cases or {}).values(), *([inside.else_] if inside.else_ else [])]
        bodies = [inside.steps or {}, *(case.steps for case in cases)]
    return next((body[name] for body in bodies if name in body and execute.step in body.values()), None)
