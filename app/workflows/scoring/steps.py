"""A step of a plan as scores see it. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from app.agents.registry import Registry
from app.governance.scoring.models import ScoringSubject, Work
from app.workflows.language.models import Step
from app.workflows.places import Passed
from app.workflows.steps.budgets import limits_of
from app.workflows.steps.words import words_of

# More often than this no loop is worth counting.
MOST_REPETITIONS = 1_000_000
HOLDERS = frozenset({"workflow", "loop", "switch", "steps"})
_BY_AGENTS = frozenset({"agent", "task"})
_TEMPLATE = "${{"


def as_written(step: Step) -> dict[str, Any]:
    """What the step would be given, with its templates not filled in: as `rendered` has it."""
    asked = step.task or (step.approval.message if step.approval else step.emit) or ""
    return {
        "with": step.with_,
        "task": asked,
        "command": step.command or [],
        "env": step.env,
        "description": step.description,
    }


def work_of_step(way: Sequence[Passed], content: Mapping[str, Any], registry: Registry) -> Work:
    """Of the last step of a way; ``content`` is what it is given, as `rendered` has it."""
    step = way[-1].step
    spec = registry.find_agent(step.agent) if step.agent else None
    given, told = content.get("with") or {}, content.get("description") or ""
    if spec is not None:
        text, inputs = words_of(spec, given, otherwise=told)
    else:
        text, inputs = content.get("task") or told, {**given, **(content.get("env") or {})}
    subject = ScoringSubject(
        text,
        inputs,
        needs_agent=step.kind in _BY_AGENTS,
        is_named=step.agent is not None,
        limits=limits_of(step.budget) if step.budget else {},
        deadline=step.timeout,
        depth=len(way) - 1,
        repetitions=_repetitions(way),
        secrets=len(step.secrets),
        command=tuple(content.get("command") or ()),
    )
    return Work(subject, step.agent, is_input_known=_TEMPLATE not in json.dumps(inputs))


def _repetitions(way: Sequence[Passed]) -> int:
    """How often the loops around it may repeat it, at most."""
    loops = (passed.step.loop.max_iterations for passed in way if passed.step.loop)
    return min(math.prod(loops), MOST_REPETITIONS)
