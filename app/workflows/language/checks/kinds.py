"""What belongs to which kind of step, and the rules of each kind."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from app.setting_evaluation import EvaluationRequest
from app.workflows.language.checks.findings import Findings, Path, nearest
from app.workflows.language.checks.structure import Body, steps_in
from app.workflows.language.compiling import RESERVED, ROOTS
from app.workflows.language.models import ApprovalSpec, BudgetSpec, EvaluateSpec, RetrySpec, Step, WaitSpec, Workflow

_ASKED = frozenset({"agent", "task"})
_BODIES = frozenset({"loop", "switch", "steps", "workflow"})
# Where a modifier means something; those that are not here do everywhere.
_KINDS_WITH = {
    "with": _ASKED | {"workflow", "command", "emit"},
    "retry": _ASKED | {"command", "evaluate"},
    "timeout": _ASKED | _BODIES | {"command", "evaluate"},
    "budget": _ASKED | _BODIES | {"evaluate"},
    "env": frozenset({"command"}),
    "secrets": frozenset({"command"}),
    "idempotency_key": _ASKED | {"command", "emit", "workflow"},
    "cases": frozenset({"switch"}),
    "else": frozenset({"switch"}),
}
_INSTEAD = {
    ("timeout", "approval"): "use `expires_in`",
    ("timeout", "wait"): "use the `timeout` of `event`",
    ("with", "transform"): "write the values into `transform`",
    ("retry", "loop"): "put it on a step inside, or use `loop.until`",
}
_OF_FOR_EACH = ("as", "max_parallel", "on_item_error")
_FIELDS = {"with": "with_", "else": "else_", "as": "as_"}
_BUDGETS = ("usd", "tokens", "model_calls", "wall_clock")


def check_step(step: Step, path: Path, body: Body, found: Findings) -> None:
    for name in _misplaced(step):
        fix = _INSTEAD.get((name, step.kind), "remove it")
        found.add((*path, name), f"`{name}` means nothing on a step with `{step.kind}`", fix)
    _check_repetition(step, path, found)
    if step.retry is not None:
        check_retry(step.retry, (*path, "retry"), found)
    if step.approval is not None:
        _check_approval(step.approval, (*path, "approval"), found)
    if step.evaluate is not None:
        _check_evaluate(step, step.evaluate, (*path, "evaluate"), body, found)
    if step.wait is not None:
        _check_wait(step.wait, (*path, "wait"), found)


def _check_repetition(step: Step, path: Path, found: Findings) -> None:
    for name in _OF_FOR_EACH:
        if step.for_each is None and _is_given(step, name):
            found.add((*path, name), f"`{name}` belongs to `for_each`", "add `for_each`, or remove it")
    if step.as_ is not None:
        _check_item_name(step.as_, (*path, "as"), found)


def _is_given(step: Step, name: str) -> bool:
    return bool(getattr(step, _FIELDS.get(name, name)))


def _misplaced(step: Step) -> Iterator[str]:
    return (name for name, kinds in _KINDS_WITH.items() if step.kind not in kinds and _is_given(step, name))


def _check_item_name(name: str, path: Path, found: Findings) -> None:
    if name in RESERVED:
        found.add(path, f"`{name}` is a reserved word of the expression language", "choose another name")
    elif name in ROOTS:
        found.add(path, f"`{name}` means something else in expressions", "choose another name")


def check_retry(retry: RetrySpec, path: Path, found: Findings) -> None:
    if retry.initial > retry.maximum:
        found.add((*path, "initial"), "the first pause is longer than the longest", "lower it, or raise `maximum`")
    if len(set(retry.on)) < len(retry.on):
        found.add((*path, "on"), "an error class is there twice", "remove one")


def _check_approval(approval: ApprovalSpec, path: Path, found: Findings) -> None:
    names = set(approval.approvers)
    if len(names) < len(approval.approvers):
        found.add((*path, "approvers"), "an approver is there twice", "remove one")
    if names and approval.quorum > len(names):
        message = f"{approval.quorum} have to approve, and there are {len(names)} approvers"
        found.add((*path, "quorum"), message, "lower `quorum`, or add approvers")
    if "on_expiry" in approval.model_fields_set and approval.expires_in is None:
        found.add((*path, "on_expiry"), "it never expires", "add `expires_in`")


def _check_evaluate(step: Step, spec: EvaluateSpec, path: Path, body: Body, found: Findings) -> None:
    if spec.step not in step.needs:
        fix = f"add it to `needs`: [{spec.step}]" if spec.step in body else nearest(spec.step, step.needs or body)
        found.add((*path, "step"), f"`{spec.step}` is not one of `needs`", fix)
    subject = body.get(spec.step)
    if spec.on_fail == "retry" and subject is not None and subject.kind not in _ASKED:
        message = f"`{spec.step}` cannot be asked again: it is a step with `{subject.kind}`"
        found.add((*path, "on_fail"), message, "use `fail` or `flag`, or a loop")
    if spec.on_fail != "retry" and "max_rounds" in spec.model_fields_set:
        found.add((*path, "max_rounds"), "`max_rounds` belongs to `on_fail: retry`", "remove it")
    given: dict[str, Any] = {"checks": spec.checks, "rubric": spec.rubric, "minimum_score": spec.threshold}
    try:
        EvaluationRequest.model_validate(given)
    except ValidationError as error:
        for one in error.errors(include_input=False, include_url=False, include_context=False):
            place = tuple("threshold" if part == "minimum_score" else part for part in one["loc"])
            found.add((*path, *place), one["msg"].removeprefix("Value error, "))


def _check_wait(wait: WaitSpec, path: Path, found: Findings) -> None:
    if wait.until is None or (isinstance(wait.until, str) and "${{" in wait.until):
        return
    at = (*path, "until")
    fix = "write it as in 2030-01-31T09:00:00Z"
    try:
        moment = datetime.fromisoformat(wait.until)
    except (TypeError, ValueError):
        found.add(at, "this is not a point in time", fix)
        return
    if moment.tzinfo is None:
        found.add(at, "the point in time has no time zone", fix)


def check_budgets(workflow: Workflow, found: Findings) -> None:
    """A step may not have more than the whole."""
    if workflow.budget is None:
        return
    for key, body in workflow.bodies().items():
        for path, step in steps_in(body, (key,)):
            if step.budget is not None:
                _check_share(step.budget, workflow.budget, (*path, "budget"), found)


def _check_share(share: BudgetSpec, whole: BudgetSpec, path: Path, found: Findings) -> None:
    for name in _BUDGETS:
        own, limit = getattr(share, name), getattr(whole, name)
        if own is not None and limit is not None and own > limit:
            found.add((*path, name), f"the step may use more {name} than the whole run", "lower it")
