"""One run of a plan: every kind of structure, and every policy for what fails."""

from typing import Any

import pytest

from app.workflows.planner import End
from app.workflows.run import Run
from app.workflows.view import View
from tests.workflow_builders import (
    CONSTANTS,
    LOOP,
    ONCE,
    A,
    B,
    JsonValues,
    a_fan_out,
    a_loop,
    a_plan,
    a_run,
    a_step,
    broken,
    done,
    error_of,
    paths,
    ref,
    result_of,
    template,
    work_off,
)


def test_independent_steps_start_together_and_others_when_their_needs_have_ended() -> None:
    run = a_run({"a": a_step(), "b": a_step(), "c": a_step("a", "b")})

    assert paths(run.begin()) == ["a", "b"]
    assert run.end("b", done()) == []
    assert paths(run.end("a", done())) == ["c"]
    assert run.end("c", done()) == []
    assert result_of(run).end is End.SUCCEEDED


def test_a_run_gives_the_outputs_that_its_document_declares() -> None:
    run = a_run({"a": a_step()}, outputs={"answer": template(ref("steps", "a", "output")), "fixed": 1})

    work_off(run, run.begin(), lambda _: done({"n": 7}))

    assert result_of(run) == done({"answer": {"n": 7}, "fixed": 1})


def test_outputs_that_cannot_be_computed_fail_the_run() -> None:
    run = a_run({"a": a_step()}, outputs={"answer": template(ref("steps", "a", "output", "missing"))})

    work_off(run, run.begin())

    assert error_of(result_of(run)) == ("EXPRESSION_FAILED", None)


def test_variables_are_computed_in_order_before_the_first_step() -> None:
    variables = {"one": template(ref("inputs", "x")), "both": template('["list", ["ref", "vars", "one"], 2]')}

    (command,) = a_run({"a": a_step()}, vars=variables).begin()

    assert command.view.constants["vars"] == {"one": 5, "both": [5, 2]}


def test_variables_that_fail_fail_the_run_and_its_ending_still_runs() -> None:
    run = a_run({"a": a_step()}, vars={"v": template(ref("inputs", "missing"))}, finally_={"tidy": a_step()})

    assert work_off(run, run.begin()) == ["finally.tidy"]
    assert error_of(result_of(run)) == ("EXPRESSION_FAILED", None)


def test_a_failed_step_blocks_those_that_need_it_and_no_others() -> None:
    run = a_run({"a": a_step(), "b": a_step("a"), "c": a_step("b"), "d": a_step()})
    run.begin()

    assert run.end("a", broken()) == []
    assert run.result is None
    run.end("d", done())

    assert [run.ends[name].end for name in "abcd"] == [End.FAILED, End.BLOCKED, End.BLOCKED, End.SUCCEEDED]
    assert run.ends["b"].attempts == 0
    assert error_of(result_of(run)) == ("PROVIDER_ERROR", "a")


def test_a_run_fails_with_the_failure_that_comes_first_in_the_document() -> None:
    run = a_run({"a": a_step(), "b": a_step()})
    run.begin()

    run.end("b", broken("LATER"))
    run.end("a", broken("FIRST"))

    assert error_of(result_of(run)) == ("FIRST", "a")


def test_a_skipped_step_has_no_output_and_lets_others_on() -> None:
    run = a_run({"a": a_step(**{"if": "false"}), "b": a_step("a")})

    assert paths(run.begin()) == ["b"]
    assert (run.ends["a"].end, run.ends["a"].output, run.ends["a"].attempts) == (End.SKIPPED, None, 0)


@pytest.mark.parametrize("condition", ["7", '["fail"]'])
def test_a_condition_that_is_neither_true_nor_false_fails_its_step(condition: str) -> None:
    run = a_run({"a": a_step(**{"if": condition})})

    assert run.begin() == []
    assert error_of(result_of(run)) == ("EXPRESSION_FAILED", "a")


def test_a_failure_that_is_tolerated_keeps_its_error_and_output_and_lets_others_on() -> None:
    run = a_run({"a": a_step(on_error="continue"), "b": a_step("a")})
    run.begin()

    assert paths(run.end("a", broken(output={"stderr": "no"}))) == ["b"]

    assert (run.ends["a"].end, run.ends["a"].output) == (End.TOLERATED, {"stderr": "no"})
    assert error_of(run.ends["a"]) == ("PROVIDER_ERROR", "a")


def test_a_fallback_is_the_output_of_a_step_that_failed() -> None:
    run = a_run({"a": a_step(on_error={"fallback": {"n": template(ref("inputs", "x"))}})})
    run.begin()

    run.end("a", broken())

    assert (run.ends["a"].end, run.ends["a"].output) == (End.TOLERATED, {"n": 5})


def test_a_fallback_that_fails_leaves_the_step_failed() -> None:
    run = a_run({"a": a_step(on_error={"fallback": template('["fail"]')})})
    run.begin()

    run.end("a", broken())

    assert error_of(result_of(run)) == ("EXPRESSION_FAILED", "a")


def test_a_group_sees_what_is_around_it_and_its_output_is_that_of_its_steps() -> None:
    inner = {"b": a_step(), "c": a_step("b", **{"with": {"x": 1}})}
    run = a_run({"a": a_step(), "group": {"needs": ["a"], "steps": inner}})
    run.begin()

    (command,) = run.end("a", done("from a"))
    assert command.path == "group.b"
    assert [(path, step.kind) for path, step in command.around] == [("group", "steps")]
    seen = command.view.lookup("a")
    assert seen is not None
    assert seen.output == "from a"

    (command,) = run.end("group.b", done(1))
    run.end("group.c", done(2))

    assert run.ends["group"].output == {"b": 1, "c": 2}


def test_a_group_that_fails_names_the_step_inside() -> None:
    run = a_run({"group": {"steps": {"b": a_step(), "c": a_step("b")}}})
    run.begin()

    run.end("group.b", broken())

    assert run.ends["group.c"].end is End.BLOCKED
    assert error_of(result_of(run)) == ("PROVIDER_ERROR", "group.b")


def test_outputs_of_a_group_are_in_the_documents_order_whichever_ended_first() -> None:
    run = a_run({"group": {"steps": {"b": a_step(), "c": a_step()}}})
    run.begin()

    run.end("group.c", done(2))
    run.end("group.b", done(1))

    assert list(run.ends["group"].output) == ["b", "c"]


def test_the_output_of_a_group_has_to_fit_its_contract() -> None:
    run = a_run({"group": {"steps": {"b": a_step()}, "output": {"b": {"type": "string"}}}})
    run.begin()

    run.end("group.b", done(1))

    assert error_of(result_of(run)) == ("AGENT_OUTPUT_INVALID", "group")


def test_a_loop_runs_until_its_condition_is_true() -> None:
    run = a_run({"review": a_loop()})

    begun = work_off(run, run.begin(), lambda command: done(command.path == "review[2].try"))

    assert begun == ["review[1].try", "review[2].try"]
    assert run.ends["review"] == done({"try": True})


def test_a_loop_sees_its_iteration_and_what_came_out_of_the_one_before() -> None:
    run = a_run({"review": a_loop()})
    (first,) = run.begin()

    (second,) = run.end("review[1].try", done(False))

    assert first.view.extras()["loop"] == {"iteration": 1, "previous": None}
    assert second.view.extras()["loop"] == {"iteration": 2, "previous": {"try": False}}
    assert second.view.lookup("try") is None


def test_the_condition_of_a_loop_step_is_asked_once_and_not_per_iteration() -> None:
    asked: list[str] = []

    class Asked(JsonValues):
        def evaluate(self, expression: str, view: View) -> Any:
            asked.append(expression)
            return super().evaluate(expression, view)

    run = Run(a_plan({"review": {**a_loop(), "if": "true"}}), Asked(), CONSTANTS)

    work_off(run, run.begin(), lambda command: done(command.path == "review[3].try"))

    assert asked == ["true", LOOP["until"], LOOP["until"], LOOP["until"]]


@pytest.mark.parametrize(
    ("policy", "end", "output"),
    [
        ("fail", End.FAILED, None),
        ("continue", End.EXHAUSTED, {"try": False}),
        ({"output": {"x": 1}}, End.EXHAUSTED, {"x": 1}),
    ],
)
def test_a_loop_that_is_never_done_ends_as_its_policy_says(policy: Any, end: End, output: Any) -> None:
    run = a_run({"review": a_loop(on_exhausted=policy), "next": a_step("review")})

    begun = work_off(run, run.begin(), lambda _: done(False))

    assert begun[:3] == ["review[1].try", "review[2].try", "review[3].try"]
    assert (run.ends["review"].end, run.ends["review"].output) == (end, output)
    assert ("next" in begun) is (end is End.EXHAUSTED)
    if end is End.FAILED:
        assert error_of(result_of(run)) == ("LOOP_EXHAUSTED", "review")


def test_a_step_that_fails_in_a_loop_ends_it() -> None:
    run = a_run({"review": a_loop()})
    run.begin()

    assert run.end("review[1].try", broken()) == []
    assert error_of(result_of(run)) == ("PROVIDER_ERROR", "review[1].try")


@pytest.mark.parametrize(
    ("value", "case"),
    [('"low"', "low"), ("true", "true"), ("3", "3"), ("3.0", "3"), ("null", "null"), ('"none of these"', "else")],
)
def test_a_switch_runs_the_case_of_its_value(value: str, case: str) -> None:
    cases = {name: {"steps": {f"is_{name}": a_step()}} for name in ("low", "true", "3", "null")}
    run = a_run({"choose": {"switch": value, "cases": cases, "else": {"steps": {"is_else": a_step()}}}})

    assert paths(run.begin()) == [f"choose.is_{case}"]


@pytest.mark.parametrize("value", ['"other"', "1.5", '["list"]', '["fail"]'])
def test_a_switch_without_a_case_that_fits_fails(value: str) -> None:
    run = a_run({"choose": {"switch": value, "cases": {"low": {"steps": {"a": a_step()}}}}})

    assert run.begin() == []
    assert error_of(result_of(run)) == ("EXPRESSION_FAILED", "choose")


def test_a_fan_out_gives_results_in_input_order_whichever_ended_first() -> None:
    run = a_run({"each": a_fan_out(**{"as": "number"})})

    commands = run.begin()
    for command in reversed(commands):
        run.end(command.path, done(command.view.extras()["number"] * 10))

    assert paths(commands) == ["each[0]", "each[1]", "each[2]"]
    assert run.ends["each"].output == [10, 20, 30]


def test_no_more_items_run_at_the_same_time_than_allowed() -> None:
    run = a_run({"each": a_fan_out(max_parallel=2)})

    assert paths(run.begin()) == ["each[0]", "each[1]"]
    assert paths(run.end("each[1]", done())) == ["each[2]"]
    assert run.end("each[0]", done()) == []


def test_the_condition_of_a_fan_out_is_asked_once_before_it() -> None:
    assert a_run({"each": a_fan_out(**{"if": "false"})}).begin() == []


def test_a_fan_out_over_nothing_succeeds_with_nothing() -> None:
    run = a_run({"each": a_step(for_each=template('["list"]'))})

    assert run.begin() == []
    assert run.ends["each"] == done([])


def test_a_fan_out_over_something_else_than_a_list_fails() -> None:
    run = a_run({"each": a_step(for_each=template(ref("inputs", "x")))})

    assert run.begin() == []
    assert error_of(result_of(run)) == ("EXPRESSION_FAILED", "each")


def test_after_an_item_that_fails_no_other_begins_and_the_first_failure_counts() -> None:
    run = a_run({"each": a_fan_out(max_parallel=2)})
    run.begin()

    assert run.end("each[1]", broken("SECOND")) == []
    assert run.end("each[0]", broken("FIRST")) == []

    assert "each[2]" not in run.ends
    assert error_of(result_of(run)) == ("FIRST", "each[0]")


@pytest.mark.parametrize(
    ("policy", "second"),
    [
        ("continue", None),
        (
            "collect",
            {
                "ok": False,
                "output": None,
                "error": {"type": "PROVIDER_ERROR", "message": "it broke", "path": "each[1]"},
            },
        ),
    ],
)
def test_items_that_fail_leave_a_gap_or_are_collected(policy: str, second: Any) -> None:
    run = a_run({"each": a_fan_out(on_item_error=policy, max_parallel=1)})

    work_off(run, run.begin(), lambda command: broken() if command.path == "each[1]" else done(1))

    first = 1 if policy == "continue" else {"ok": True, "output": 1, "error": None}
    assert run.ends["each"] == done([first, second, first])


def test_what_an_error_means_for_others_is_said_of_the_whole_fan_out() -> None:
    run = a_run({"each": a_fan_out(on_error={"fallback": "nothing"})})
    run.begin()

    run.end("each[0]", broken())
    run.end("each[1]", done(1))
    run.end("each[2]", done(2))

    assert run.ends["each[0]"].end is End.FAILED
    assert (run.ends["each"].end, run.ends["each"].output) == (End.TOLERATED, "nothing")


@pytest.mark.parametrize(
    ("body", "begun"),
    [
        ({"steps": {"a": a_step(), "b": a_step("a")}}, "each[0].a each[1].a each[2].a each[0].b each[1].b each[2].b"),
        ({"loop": ONCE, "steps": {"a": a_step()}}, "each[0][1].a each[1][1].a each[2][1].a"),
        ({"switch": '["ref", "item"]', "cases": {"2": A}, "else": B}, "each[0].b each[1].a each[2].b"),
        ({"workflow": "part"}, "each[0].inner each[1].inner each[2].inner"),
    ],
)  # fmt: skip
def test_items_may_be_structures(body: dict[str, Any], begun: str) -> None:
    step = {"for_each": template(ref("inputs", "list")), **body}
    run = a_run({"each": step}, parts={"part": a_plan({"inner": a_step()})})

    assert work_off(run, run.begin()) == begun.split()
    assert len(run.ends["each"].output) == 3
