"""How runs of a plan end: sub-workflows, endings, cancelling, and what is rebuilt from a record."""

import json
from typing import Any

import pytest

from app.workflows.plan import Plan
from app.workflows.planner import End
from app.workflows.replaying import WorkflowMismatch, ends_before, replay, restore
from app.workflows.run import Execute, Run
from app.workflows.view import CANCELLED, Ended
from tests.workflow_builders import (
    CONSTANTS,
    JsonValues,
    a_fan_out,
    a_loop,
    a_plan,
    a_run,
    a_step,
    broken,
    done,
    error_of,
    outputs_of,
    paths,
    ref,
    result_of,
    template,
    work_off,
)


def a_part(**rest: Any) -> Plan:
    inputs = {"n": {"type": "integer"}, "more": {"type": "string", "default": "given"}}
    return a_plan({"inner": a_step()}, inputs=inputs, **rest)


def test_a_sub_workflow_sees_its_inputs_with_their_defaults_and_nothing_of_its_caller() -> None:
    call = {"needs": ["a"], "workflow": "part", "with": {"n": template(ref("inputs", "x"))}}
    part = a_part(vars={"v": template(ref("inputs", "more"))}, outputs={"o": template(ref("steps", "inner", "output"))})
    run = a_run({"a": a_step(), "call": call}, parts={"part": part})
    run.begin()

    (command,) = run.end("a", done())
    run.end("call.inner", done("result"))

    assert command.path == "call.inner"
    assert command.workflow is part.workflow
    assert command.view.constants["inputs"] == {"n": 5, "more": "given"}
    assert command.view.constants["vars"] == {"v": "given"}
    assert command.view.lookup("a") is None
    assert run.ends["call"] == done({"o": "result"})


def test_a_sub_workflow_is_not_begun_with_inputs_that_do_not_fit() -> None:
    run = a_run({"call": {"workflow": "part", "with": {"n": "text"}}}, parts={"part": a_part()})

    assert run.begin() == []
    assert error_of(result_of(run)) == ("WORKFLOW_INPUT_INVALID", "call")


def test_a_sub_workflow_has_its_own_parts_and_its_own_ending() -> None:
    deep = a_plan({"deep": a_step()}, finally_={"tidy": a_step()})
    part = a_plan({"inner": {"workflow": "same"}}, parts={"same": deep})
    run = a_run({"call": {"workflow": "same"}, "next": a_step("call")}, parts={"same": part})

    assert work_off(run, run.begin()) == ["call.inner.deep", "call.inner.finally.tidy", "next"]


def test_an_ending_runs_after_success_and_failure_and_sees_which_it_was() -> None:
    seen = {}
    for ended in (done(), broken()):
        run = a_run({"a": a_step()}, finally_={"tidy": a_step()})
        run.begin()
        (command,) = run.end("a", ended)
        seen[ended.end] = command.view.constants["run"]

    error = {"type": "PROVIDER_ERROR", "message": "it broke", "path": "a"}
    assert seen[End.SUCCEEDED] == {"id": "r1", "succeeded": True, "error": None}
    assert seen[End.FAILED] == {"id": "r1", "succeeded": False, "error": error}
    assert command.path == "finally.tidy"
    assert command.view.lookup("a") == run.ends["a"]


def test_a_failure_of_the_body_stays_the_primary_one() -> None:
    ended = {}
    for body in (done(), broken("BODY")):
        run = a_run({"a": a_step()}, finally_={"tidy": a_step()})
        run.begin()
        run.end("a", body)
        run.end("finally.tidy", broken("ENDING"))
        ended[body.end] = error_of(result_of(run))

    assert ended == {End.SUCCEEDED: ("ENDING", "finally.tidy"), End.FAILED: ("BODY", "a")}


def test_a_cancelled_run_begins_nothing_more_and_what_runs_may_still_end_as_it_does() -> None:
    run = a_run({"a": a_step(), "b": a_step(), "c": a_step("a")}, finally_={"tidy": a_step()})
    run.begin()

    assert run.cancel() == ["a", "b"]
    assert run.ends == {"c": CANCELLED}
    assert run.end("a", done("late")) == []
    assert paths(run.end("b", Ended(End.CANCELLED))) == ["finally.tidy"]
    assert run.cancel() == []
    run.end("finally.tidy", done())

    assert run.ends["a"] == done("late")
    assert result_of(run).end is End.CANCELLED


def test_a_run_whose_last_steps_succeed_in_spite_of_a_cancel_has_succeeded() -> None:
    run = a_run({"a": a_step()})
    run.begin()
    run.cancel()

    run.end("a", done())

    assert result_of(run).end is End.SUCCEEDED


@pytest.mark.parametrize(
    ("step", "path"),
    [
        (a_loop(), "step[1].try"),
        (a_fan_out(max_parallel=1), "step[0]"),
        (a_fan_out(max_parallel=1, on_item_error="continue"), "step[0]"),
        ({"steps": {"a": a_step(), "b": a_step("a")}}, "step.a"),
        ({"steps": {"a": a_step(), "b": a_step("a")}, "on_error": "continue"}, "step.a"),
    ],
)
def test_a_cancelled_structure_does_not_go_on_to_its_next_part(step: dict[str, Any], path: str) -> None:
    run = a_run({"step": step, "next": a_step("step")})
    run.begin()

    assert run.cancel() == [path]
    assert run.end(path, done(False)) == []

    assert run.ends["step"].end is End.CANCELLED
    assert "step[1]" not in run.ends
    assert result_of(run).end is End.CANCELLED


def test_the_ending_of_a_cancelled_sub_workflow_runs_within_the_call() -> None:
    part = a_plan({"inner": a_step()}, finally_={"tidy": {"steps": {"deep": a_step(), "more": a_step("deep")}}})
    run = a_run({"call": {"workflow": "part"}}, parts={"part": part})
    run.begin()
    run.cancel()

    begun = work_off(run, run.end("call.inner", Ended(End.CANCELLED)))

    assert begun == ["call.finally.tidy.deep", "call.finally.tidy.more"]
    assert result_of(run).end is End.CANCELLED


def test_an_end_told_again_or_of_nothing_that_runs_changes_nothing() -> None:
    run = a_run({"a": a_step(), "b": a_step("a")})
    run.begin()
    run.end("a", done(1))
    before = run.snapshot()

    assert run.end("a", broken()) == []
    assert run.end("nobody", done()) == []

    assert run.snapshot() == before
    assert paths(run.open) == ["b"]


def test_a_snapshot_is_json_and_a_run_restored_from_it_goes_on_where_it_was() -> None:
    steps = {"a": a_step(), "each": a_fan_out(needs=["a"], max_parallel=2), "last": a_step("each")}
    run = a_run(steps)
    run.begin()
    run.end("a", done({"n": 1}))
    run.end("each[1]", broken())

    restored = restore(a_plan(steps), JsonValues(), json.loads(json.dumps(run.snapshot())))

    assert restored.ends == run.ends
    assert restored.open == run.open
    assert paths(restored.open) == ["each[0]"]


def test_a_snapshot_of_another_version_is_refused() -> None:
    snapshot = {**a_run({"a": a_step()}).snapshot(), "digest": "another"}

    with pytest.raises(WorkflowMismatch):
        restore(a_plan({"a": a_step()}), JsonValues(), snapshot)


def test_a_fork_takes_over_what_does_not_need_the_step_it_begins_with() -> None:
    steps = {"a": a_step(), "b": a_step("a"), "group": {"needs": ["b"], "steps": {"c": a_step()}}, "d": a_step("a")}
    plan = a_plan(steps, finally_={"tidy": a_step()})
    ended = [(path, done(path)) for path in ("a", "b", "d", "group.c", "finally.tidy")]

    kept = list(ends_before(plan, "b", ended))

    assert [path for path, _ in kept] == ["a", "d"]
    assert paths(replay(plan, JsonValues(), CONSTANTS, kept).open) == ["b"]


def test_ends_recorded_in_another_order_count_when_their_steps_begin() -> None:
    plan = a_plan({"a": a_step(), "b": a_step("a"), "c": a_step("b")})

    run = replay(plan, JsonValues(), CONSTANTS, [("b", done("b")), ("gone", done()), ("a", done("a"))])

    assert outputs_of(run, "a", "b") == ["a", "b"]
    assert paths(run.open) == ["c"]


def test_a_thousand_steps_that_need_no_work_cost_no_stack() -> None:
    steps = {f"s{place}": a_step(*([f"s{place - 1}"] if place else []), **{"if": "false"}) for place in range(1000)}

    run = a_run(steps)

    assert run.begin() == []
    assert result_of(run).end is End.SUCCEEDED
    assert len(run.ends) == 1000


def test_ten_thousand_items_are_handed_out_and_joined() -> None:
    plan = a_plan({"each": a_step(for_each=template(ref("inputs", "many")), max_parallel=100)})
    run = Run(plan, JsonValues(), {"inputs": {"many": list(range(10_000))}, "run": {}})

    def work(command: Execute) -> Ended:
        assert len(run.running) <= 100
        return done(command.view.extras()["item"])

    assert len(work_off(run, run.begin(), work)) == 10_000
    assert run.ends["each"].output == list(range(10_000))


def test_hundreds_of_sub_workflows_within_each_other_cost_no_stack() -> None:
    plan = a_plan({"inner": a_step()})
    for _ in range(400):
        plan = a_plan({"call": {"workflow": "part"}}, parts={"part": plan})
    run = Run(plan, JsonValues(), CONSTANTS)

    (command,) = run.begin()
    run.end(command.path, done())

    assert command.path == "call." * 400 + "inner"
    assert len(command.around) == 400
    assert result_of(run).end is End.SUCCEEDED
