"""Documents compiled to nodes and edges."""

from app.workflows.plan import compile_plan, downstream
from tests.workflow_builders import a_plan, a_step, a_workflow


def test_needs_become_edges_both_ways_and_those_named_twice_one() -> None:
    scope = a_plan({"last": a_step("first", "first"), "first": a_step()}).body

    last, first = scope.nodes
    assert (last.name, last.needs, last.successors) == ("last", (1,), ())
    assert (first.name, first.needs, first.successors) == ("first", (), (0,))
    assert [node.name for node in scope.roots] == ["first"]


def test_groups_and_loops_have_a_body_and_a_switch_a_scope_per_case() -> None:
    inner = {"inner": a_step()}
    loop = {"loop": {"until": "true", "max_iterations": 2}, "steps": inner}
    # A case may have the name of a keyword.
    switch = {"switch": "1", "cases": {"else": {"steps": inner}}, "else": {"steps": {"other": a_step()}}}

    group_node, loop_node, switch_node = a_plan({"group": {"steps": inner}, "loop": loop, "switch": switch}).body.nodes

    assert group_node.body is not None
    assert loop_node.body == group_node.body
    assert switch_node.body is None
    assert switch_node.cases == {"else": group_node.body}
    assert switch_node.otherwise is not None
    assert [node.name for node in switch_node.otherwise.nodes] == ["other"]


def test_what_is_downstream_of_a_step_is_all_that_needs_it_directly_or_not() -> None:
    steps = {"a": a_step(), "b": a_step("a"), "c": a_step("b", "d"), "d": a_step(), "e": a_step("d")}

    scope = a_plan(steps).body

    assert downstream(scope, ["b"]) == {"b", "c"}
    assert downstream(scope, ["a", "e"]) == {"a", "b", "c", "e"}
    assert downstream(scope, ["nobody"]) == frozenset()


def test_a_plan_has_the_steps_its_ending_and_the_workflows_it_calls() -> None:
    part = a_plan({"inner": a_step()})

    plan = compile_plan(a_workflow({"call": {"workflow": "part"}}, finally_={"tidy": a_step()}), "d1", {"part": part})

    assert [node.name for node in plan.body.nodes] == ["call"]
    assert [node.name for node in plan.ending.nodes] == ["tidy"]
    assert plan.parts["part"] is part
    assert plan.digest == "d1"
