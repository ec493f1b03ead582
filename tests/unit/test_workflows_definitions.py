"""What is stored beside a document: its graph, and what it takes and gives."""

from typing import Any

from app.workflows.definitions.graph import graph_of
from app.workflows.definitions.interface import inputs_of, outputs_of
from app.workflows.language.models import Workflow

NULL = {"type": "null"}


def workflow(steps: dict[str, Any], **members: Any) -> Workflow:
    return Workflow.model_validate({"version": 1, "name": "w", "steps": steps, **members})


def a_step(*needs: str, **members: Any) -> dict[str, Any]:
    return {"agent": "text_processor", "needs": list(needs), **members}


def test_the_graph_has_every_step_in_order_with_what_it_is_about() -> None:
    graph = graph_of(workflow({"a": a_step(), "b": a_step("a", **{"if": "true"}, description="Sums up.")}))

    assert [node["id"] for node in graph["nodes"]] == ["a", "b"]
    assert graph["edges"] == [{"from": "a", "to": "b"}]
    assert graph["nodes"][1] == {
        "id": "b",
        "path": "b",
        "name": "b",
        "kind": "agent",
        "target": "text_processor",
        "description": "Sums up.",
        "parent": None,
        "case": None,
        "repeats": False,
        "conditional": True,
        "ending": False,
    }


def test_steps_inside_of_others_are_nodes_with_the_paths_that_they_run_under() -> None:
    inner = {"check": a_step(), "fix": a_step("check", "check")}
    review = {"loop": {"until": "true", "max_iterations": 3}, "steps": inner}
    graph = graph_of(workflow({"review": review}, **{"finally": {"tell": {"emit": "done"}}}))

    assert [(node["id"], node["parent"], node["repeats"]) for node in graph["nodes"]] == [
        ("review", None, True),
        ("review.check", "review", False),
        ("review.fix", "review", False),
        ("finally.tell", None, False),
    ]
    assert graph["edges"] == [{"from": "review.check", "to": "review.fix"}]
    assert [(node["target"], node["ending"]) for node in graph["nodes"]][-1] == ("done", True)


def test_cases_that_name_their_steps_alike_stay_apart() -> None:
    handled = {"steps": {"look": a_step(), "handle": a_step("look")}}
    switch = {"switch": "'a'", "cases": {"a": handled}, "else": {"steps": {"handle": a_step()}}}
    graph = graph_of(workflow({"decide": switch}))

    assert [(node["id"], node["path"], node["case"]) for node in graph["nodes"][1:]] == [
        ("decide(a).look", "decide.look", "a"),
        ("decide(a).handle", "decide.handle", "a"),
        ("decide(else).handle", "decide.handle", "else"),
    ]
    assert graph["edges"] == [{"from": "decide(a).look", "to": "decide(a).handle"}]


def test_what_it_takes_is_closed_and_what_has_no_default_is_required() -> None:
    taken = inputs_of(
        workflow({"a": a_step()}, inputs={"text": {"type": "string"}, "n": {"type": "integer", "default": 3}})
    )

    assert taken["required"] == ["text"]
    assert taken["additionalProperties"] is False
    assert taken["properties"]["n"]["default"] == 3


def test_what_it_gives_is_known_as_far_as_it_is_declared() -> None:
    steps = {
        "a": a_step(output={"mood": {"type": "string", "enum": ["good", "bad"]}}),
        "each": a_step(for_each="${{ [1] }}", output={"mood": {"type": "string"}}),
    }
    outputs = {
        "mood": "${{ steps.a.output.mood }}",
        "text": "${{inputs.text}}",
        "other": "${{ steps.a.output.other }}",
        "all": "${{ steps.each.output.mood }}",
        "told": "It is ${{ steps.a.output.mood }}.",
        "fixed": 7,
    }
    given = outputs_of(workflow(steps, inputs={"text": {"type": "string"}}, outputs=outputs))

    assert given["required"] == list(outputs)
    assert given["properties"] == {
        "mood": {"anyOf": [{"type": "string", "enum": ["good", "bad"]}, NULL]},
        "text": {"type": "string"},
        "other": {},
        "all": {},
        "told": {},
        "fixed": {},
    }
