"""Plans, and a driver for runs, without an expression language: an expression is JSON, evaluated below."""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.workflows.language.models import Workflow
from app.workflows.plan import Plan, compile_plan
from app.workflows.planner import End
from app.workflows.run import Execute, Run
from app.workflows.view import Ended, ExpressionFailed, Fault, View

CONSTANTS: dict[str, Any] = {"inputs": {"x": 5, "list": [1, 2, 3]}, "run": {"id": "r1"}}
Work = Callable[[Execute], Ended]


def expression(*parts: Any) -> str:
    """`["ref", "steps", "a", "output"]`, `["even", E]`, `["mod", E]`, `["list", E, …]`, `["fail"]`, or a constant."""
    return json.dumps(list(parts)) if len(parts) != 1 or parts[0] == "fail" else json.dumps(parts[0])


def ref(*names: str) -> str:
    return expression("ref", *names)


def template(text: str) -> str:
    return f"${{{{ {text} }}}}"


def evaluate_json(parsed: Any, environment: Mapping[str, Any]) -> Any:
    """Raises `ExpressionFailed` for what is not there."""
    if not isinstance(parsed, list):
        return parsed
    word, *rest = parsed
    if word == "ref":
        return _looked_up(rest, environment)
    if word == "list":
        return [evaluate_json(one, environment) for one in rest]
    if word in ("even", "mod"):
        number = zlib.crc32(json.dumps(evaluate_json(rest[0], environment), sort_keys=True).encode())
        return number % 2 == 0 if word == "even" else number % 3
    raise ExpressionFailed("this one always fails")


def evaluate_text(text: str, environment: Mapping[str, Any]) -> Any:
    return evaluate_json(json.loads(text), environment)


def _looked_up(names: list[str], environment: Mapping[str, Any]) -> Any:
    found: Any = environment
    for name in names:
        if not isinstance(found, dict) or name not in found:
            raise ExpressionFailed(f"there is no {'.'.join(names)}")
        found = found[name]
    return found


def render_json(content: Any, environment: Mapping[str, Any]) -> Any:
    if isinstance(content, dict):
        return {name: render_json(value, environment) for name, value in content.items()}
    if isinstance(content, str) and content.startswith("${{"):
        return evaluate_text(content[3:-2], environment)
    return content


def as_seen(ended: Ended) -> dict[str, Any]:
    error = {"type": ended.error.type, "path": ended.error.path} if ended.error else None
    return {"output": ended.output, "status": ended.end.value, "attempts": ended.attempts, "error": error}


def without_messages(value: Any) -> Any:
    """The wording of errors is no part of what is compared."""
    if isinstance(value, dict):
        return {name: without_messages(part) for name, part in value.items() if name != "message"}
    return [without_messages(part) for part in value] if isinstance(value, list) else value


class JsonValues:
    """Implements `Values`."""

    def evaluate(self, expression: str, view: View) -> Any:
        # Constants look at nothing, and thousands of them must not.
        return evaluate_text(expression, _environment(view) if expression.startswith("[") else {})

    def render(self, template: Any, view: View) -> Any:
        return render_json(template, _environment(view))


def _environment(view: View) -> dict[str, Any]:
    names: set[str] = set()
    scope: View | None = view
    while scope is not None:
        names |= scope.steps.keys()
        scope = scope.around
    steps = {name: as_seen(ended) for name in names if (ended := view.lookup(name)) is not None}
    seen: dict[str, Any] = without_messages({**view.constants, **view.extras(), "steps": steps})
    return seen


def a_workflow(steps: Mapping[str, Any], **rest: Any) -> Workflow:
    """``finally_`` is its `finally`."""
    return Workflow.model_validate({"version": 1, "name": "example", "steps": steps, **rest})


def a_plan(steps: Mapping[str, Any], *, parts: Mapping[str, Plan] | None = None, **rest: Any) -> Plan:
    return compile_plan(a_workflow(steps, **rest), "digest", parts or {})


def a_run(steps: Mapping[str, Any], *, parts: Mapping[str, Plan] | None = None, **rest: Any) -> Run:
    return Run(a_plan(steps, parts=parts, **rest), JsonValues(), CONSTANTS)


def a_step(*needs: str, **rest: Any) -> dict[str, Any]:
    return {"agent": "worker", "needs": list(needs), **rest}


def done(output: Any = None) -> Ended:
    return Ended(End.SUCCEEDED, output)


def broken(kind: str = "PROVIDER_ERROR", output: Any = None) -> Ended:
    return Ended(End.FAILED, output, Fault(kind, "it broke"))


def paths(commands: Iterable[Execute]) -> list[str]:
    return [command.path for command in commands]


def work_off(run: Run, commands: Iterable[Execute], work: Work = lambda _: done()) -> list[str]:
    """Carries out everything, first come, first served. The paths in the order in which they were begun."""
    begun = list(commands)
    for command in begun:
        begun.extend(run.end(command.path, work(command)))
    return paths(begun)


LOOP = {"until": '["ref", "steps", "try", "output"]', "max_iterations": 3}


ONCE = {"until": "true", "max_iterations": 2}
A = {"steps": {"a": a_step()}}
B = {"steps": {"b": a_step()}}


def a_loop(**rest: Any) -> dict[str, Any]:
    return {"loop": {**LOOP, **rest}, "steps": {"try": a_step()}}


def a_fan_out(**rest: Any) -> dict[str, Any]:
    return a_step(for_each=template(ref("inputs", "list")), **rest)


def result_of(run: Run) -> Ended:
    assert run.result is not None
    return run.result


def error_of(ended: Ended) -> tuple[str, str | None]:
    assert ended.error is not None
    return ended.error.type, ended.error.path


def outputs_of(run: Run, *names: str) -> list[Any]:
    return [run.ends[name].output for name in names]
