"""What a step is given, rendered by its driver, so that whoever carries it out needs no other step. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.clock import to_iso
from app.workflows.executions.models import Waits
from app.workflows.language.expressions import as_text
from app.workflows.language.models import ApprovalSpec, EvaluateSpec, Step, WaitSpec
from app.workflows.run import Execute
from app.workflows.siblings import sibling
from app.workflows.steps.moments import moment_of
from app.workflows.view import Values

# `artifacts: {name: {file: path}}`.
FILE = "file"


@dataclass(frozen=True, slots=True)
class Rendered:
    """``waits_for`` is what a step waits for that needs no worker, ``due_at`` when that has an end."""

    content: Mapping[str, Any]
    waits_for: Mapping[str, Any] | None = None
    due_at: datetime | None = None


def rendered(execute: Execute, values: Values, now: datetime) -> Rendered:
    """Raises `ExpressionFailed`."""
    step = execute.step
    if step.approval is not None:
        return _approval(step.approval, execute, values, now)
    if step.wait is not None:
        return _wait(step.wait, execute, values, now)
    content: dict[str, Any] = {"with": values.render(step.with_, execute.view)}
    if step.description:
        content["description"] = step.description
    if step.idempotency_key is not None:
        content["key"] = as_text(values.render(step.idempotency_key, execute.view))
    if step.task is not None:
        content["task"] = as_text(values.render(step.task, execute.view))
    if step.command is not None:
        content["command"] = [as_text(word) for word in values.render(step.command, execute.view)]
        content["files"] = _files(step, execute, values)
        content["env"] = {name: as_text(value) for name, value in values.render(step.env, execute.view).items()}
    if step.evaluate is not None:
        content["evaluate"] = _subject(step.evaluate, execute, values)
    return Rendered(content)


def _files(step: Step, execute: Execute, values: Values) -> dict[str, str]:
    """What the program is to leave behind, by the name that it is kept under."""
    wanted = {name: one[FILE] for name, one in step.artifacts.items() if isinstance(one, dict) and one.keys() == {FILE}}
    return {name: as_text(path) for name, path in values.render(wanted, execute.view).items()}


def _approval(spec: ApprovalSpec, execute: Execute, values: Values, now: datetime) -> Rendered:
    due_at = now + spec.expires_in if spec.expires_in else None
    waits_for = {
        "what": Waits.APPROVAL.value,
        "message": as_text(values.render(spec.message, execute.view)),
        "approvers": list(spec.approvers),
        "quorum": spec.quorum,
        "until": due_at,
    }
    return Rendered({}, waits_for, due_at)


def _wait(spec: WaitSpec, execute: Execute, values: Values, now: datetime) -> Rendered:
    if spec.event is not None:
        key = None if spec.key is None else as_text(values.render(spec.key, execute.view))
        due_at = now + spec.timeout if spec.timeout else None
        waits_for = {"what": Waits.EVENT.value, "event": spec.event, "key": key, "until": due_at}
        return Rendered({"wait": {"event": spec.event, "key": key}}, waits_for, due_at)
    until = (
        now + spec.for_ if spec.for_ is not None else moment_of(values.render(spec.until, execute.view), execute.path)
    )
    waits_for = {"what": Waits.TIME.value, "until": until}
    return Rendered({"wait": {"until": to_iso(until)}}, waits_for, until)


def _subject(spec: EvaluateSpec, execute: Execute, values: Values) -> dict[str, Any]:
    """What is evaluated, what it was to be, and how it can be asked for again."""
    ended = execute.view.lookup(spec.step)
    step = sibling(execute, spec.step)
    subject: dict[str, Any] = {"task": "", "output": ended.output if ended else None, "again": None}
    if step is None or step.for_each is not None:
        return subject
    given: Mapping[str, Any] = values.render(step.with_, execute.view)
    text = as_text(values.render(step.task, execute.view)) if step.task is not None else None
    subject["task"] = text if text is not None else str(given.get("task") or given.get("text") or step.description)
    if step.agent is not None:
        subject["again"] = {"agent": step.agent, "with": given}
    elif text is not None:
        subject["again"] = {"task": text, "with": given}
    return subject


def is_inline(step: Step) -> bool:
    """Whether it is carried out by the driver itself: it computes, and does nothing."""
    return step.transform is not None or step.emit is not None


def inline_output(step: Step, values: Values, execute: Execute) -> Any:
    """Raises `ExpressionFailed`."""
    if step.transform is not None:
        return values.render(step.transform, execute.view)
    return {"event": step.emit, "data": values.render(step.with_, execute.view)}
