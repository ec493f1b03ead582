"""The short form: what it is translated to, and that a run of that does what the short form says."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.language.expressions import Expressions
from app.workflows.language.problems import WorkflowInvalid
from app.workflows.language.short_condition import DEEPEST, LONGEST, ConditionInvalid, condition_to_cel
from app.workflows.planner import End
from app.workflows.run import Run
from app.workflows.view import Ended
from tests.workflow_documents import load, problems_of

ANALYSIS = {
    "name": "Content Analysis",
    "steps": [
        {
            "name": "read it",
            "agent_type": "text_processor",
            "input_mapping": {"text": "input_text", "task_type": "sentiment_analysis", "limit": 3},
            "output_mapping": {"sentiment": "content_sentiment", "text": "words"},
            "timeout": 60,
            "retry_count": 2,
        },
        {
            "name": "sum-up",
            "agent_type": "text_processor",
            "depends_on": ["read it"],
            "condition": "content_sentiment == positive",
            "input_mapping": {"text": "words"},
            "output_mapping": {"summary": "summary"},
        },
        {
            "name": "tell",
            "agent_type": "echo",
            "depends_on": ["sum-up"],
            "input_mapping": {"summary": "summary", "note": "as ${{ written }}", "list": ["words"]},
        },
    ],
}


def run(document: dict[str, Any], inputs: dict[str, Any], results: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What each step that began was given, and the outputs of the run."""
    values, given_to = Expressions(), {}
    execution = Run(load(json.dumps(document)).plan, values, {"inputs": inputs, "run": {"id": "r"}})
    waiting = execution.begin()
    while waiting:
        command = waiting.pop(0)
        given_to[command.path] = values.render(command.step.with_, command.view)
        waiting += execution.end(command.path, Ended(End.SUCCEEDED, results.get(command.path, {})))
    assert execution.result is not None
    return given_to, execution.result.output


def one_step(**step: Any) -> dict[str, Any]:
    return {"name": "one", "steps": [{"name": "a", "agent_type": "echo", **step}]}


def begins(condition: str, inputs: dict[str, Any]) -> bool:
    given_to, _ = run(one_step(condition=condition), inputs, {})
    return "a" in given_to


def test_a_short_document_is_shown_in_the_strict_form() -> None:
    definition = load(json.dumps(ANALYSIS))

    document = definition.document
    assert (document["version"], document["name"]) == (1, "Content-Analysis")
    assert list(document["steps"]) == ["read_it", "sum_up", "tell"]
    assert document["steps"]["read_it"] == {
        "description": "read it",
        "agent": "text_processor",
        "with": {
            "text": '${{ (has(inputs.input_text) ? inputs.input_text : "input_text") }}',
            "task_type": '${{ (has(inputs.sentiment_analysis) ? inputs.sentiment_analysis : "sentiment_analysis") }}',
            "limit": 3,
        },
        "timeout": "60s",
        "retry": {"max_attempts": 3},
    }
    assert document["steps"]["sum_up"]["needs"] == ["read_it"]
    assert document["steps"]["sum_up"]["with"] == {"text": "${{ steps.read_it.output.text }}"}
    assert document["steps"]["tell"]["with"]["note"] == "as $${{ written }}"


def test_what_is_shown_loads_again_as_the_same_workflow() -> None:
    definition = load(json.dumps(ANALYSIS))

    assert load(json.dumps(definition.document)).digest == definition.digest


def test_values_go_through_the_context_and_other_words_are_texts() -> None:
    results = {"read_it": {"sentiment": "positive", "text": "a b"}, "sum_up": {"summary": "short"}}

    given_to, outputs = run(ANALYSIS, {"input_text": "hello", "unused": 1}, results)

    assert given_to["read_it"] == {"text": "hello", "task_type": "sentiment_analysis", "limit": 3}
    assert given_to["sum_up"] == {"text": "a b"}
    assert given_to["tell"] == {"summary": "short", "note": "as ${{ written }}", "list": ["words"]}
    assert outputs == {"content_sentiment": "positive", "words": "a b", "summary": "short"}


def test_a_step_that_is_skipped_writes_nothing_to_the_context() -> None:
    results = {"read_it": {"sentiment": "negative", "text": "a b"}}

    given_to, outputs = run(ANALYSIS, {"input_text": "hello"}, results)
    given_an_input, _ = run(ANALYSIS, {"input_text": "hello", "summary": "of old"}, results)

    assert "sum_up" not in given_to
    assert given_to["tell"]["summary"] == "summary"
    assert given_an_input["tell"]["summary"] == "of old"
    assert outputs["summary"] is None


def test_an_input_takes_the_place_of_a_word_that_it_is_called_like() -> None:
    given_to, _ = run(one_step(input_mapping={"x": "word", "y": "in"}), {"word": [1]}, {})

    assert given_to["a"] == {"x": [1], "y": "in"}


def test_the_last_of_several_writers_counts() -> None:
    writer = {"agent_type": "echo", "output_mapping": {"out": "key"}}
    document = {
        "name": "several",
        "steps": [
            {"name": "last", **writer, "depends_on": ["first"]},
            {"name": "first", **writer},
            {"name": "reader", "agent_type": "echo", "depends_on": ["last"], "input_mapping": {"x": "key"}},
        ],
    }

    given_to, outputs = run(document, {}, {"first": {"out": 1}, "last": {"out": 2}})

    assert given_to["reader"] == {"x": 2}
    assert outputs == {"key": 2}


@pytest.mark.parametrize(
    ("condition", "inputs", "expected"),
    [
        ("mood == good", {"mood": "good"}, True),
        ("mood == good", {"mood": "bad"}, False),
        ("mood == good", {}, False),
        ("mood != good", {}, True),
        ("mood == good", {"mood": 1, "good": 1}, True),
        ("mood == 'very good'", {"mood": "very good"}, True),
        ('mood == "it\'s \\"good\\""', {"mood": 'it\'s "good"'}, True),
        ("mood == very-good", {"mood": "very-good"}, True),
        ("score > 0.5", {"score": 1}, True),
        ("score <= -2", {"score": -2}, True),
        ("ready", {"ready": True}, True),
        ("not ready", {}, True),
        ("ready == True AND NOT (score < 1 or score > 5)", {"ready": True, "score": 3}, True),
        ("a == 1 && !(b == 2) || c == 3", {"a": 1, "b": 2, "c": 3}, True),
        ("mood in [good, 'quite good', 3]", {"mood": 3}, True),
        ("mood in [good]", {"mood": "bad"}, False),
        ("nothing == null", {}, True),
    ],
    ids=str,
)
def test_a_condition_means_what_it_says(condition: str, inputs: dict[str, Any], expected: bool) -> None:
    assert begins(condition, inputs) is expected


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("mood = good", "character 5: this cannot be read"),
        ("mood == ", "expecting a key or a value, and here is 'the end'"),
        ("mood == good bad", "expecting and, or, or the end, and here is 'bad'"),
        ("(mood == good", "expecting ')'"),
        ("mood in [good", "expecting ',' or ']'"),
        ("mood == inputs.good", "character 15: this cannot be read"),
        ("mood == ${{ steps.a }}", "character 8: this cannot be read"),
        ("f(x)", "expecting and, or, or the end"),
        ("mood == 'open", "this cannot be read"),
        ("(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1), "nested too deeply"),
        ("not " * (DEEPEST + 1) + "a", "nested too deeply"),
        ("a" * (LONGEST + 1), f"at most {LONGEST} characters"),
    ],
    ids=lambda value: value[:30],
)
def test_a_condition_that_cannot_be_read_is_refused_with_the_reason(condition: str, told: str) -> None:
    with pytest.raises(ConditionInvalid) as caught:
        condition_to_cel(condition, lambda key, otherwise: otherwise)

    assert told in str(caught.value)


def test_a_step_that_may_run_beside_a_writer_has_to_say_which_comes_first() -> None:
    steps = [
        {"name": "writer", "agent_type": "echo", "output_mapping": {"out": "key"}},
        {"name": "reader", "agent_type": "echo", "input_mapping": {"x": "key"}},
    ]

    problems = problems_of(json.dumps({"name": "beside", "steps": steps}))

    assert [(one.path, one.fix) for one in problems] == [("steps[1].input_mapping.x", "add 'writer' to depends_on")]


def test_a_reader_before_a_writer_sees_what_was_there_before() -> None:
    steps = [
        {"name": "reader", "agent_type": "echo", "input_mapping": {"x": "key"}},
        {"name": "writer", "agent_type": "echo", "depends_on": ["reader"], "output_mapping": {"out": "key"}},
    ]

    given_to, _ = run({"name": "before", "steps": steps}, {"key": 5}, {"writer": {"out": 6}})

    assert given_to["reader"] == {"x": 5}


def test_problems_of_the_translated_document_stand_where_the_short_one_was_written() -> None:
    text = json.dumps(one_step(input_mapping={"a b": 1}), indent=1)

    problems = problems_of(text)

    assert [(one.line, one.path) for one in problems] == [(8, "steps.a.with.a b")]


NAMES = st.sampled_from(["a", "b", "c", "a b", "a-b", "1", "in", ""])
WORDS = st.sampled_from(["a", "key", "in", "${{", "x == y", "loop", "", "é", "not"])
STEPS = st.fixed_dictionaries(
    {"name": NAMES, "agent_type": st.just("echo")},
    optional={
        "depends_on": st.lists(NAMES, max_size=2),
        "condition": WORDS,
        "input_mapping": st.dictionaries(WORDS, WORDS | st.integers(), max_size=2),
        "output_mapping": st.dictionaries(WORDS, WORDS, max_size=2),
    },
)


@given(st.lists(STEPS, min_size=1, max_size=5))
@settings(max_examples=60)
def test_any_short_document_is_translated_or_refused_with_places(steps: list[dict[str, Any]]) -> None:
    text = json.dumps({"name": "any", "steps": steps}, indent=1)

    try:
        again = load(json.dumps(load(text).document))
    except WorkflowInvalid as error:
        lines = [one.line for one in error.problems]
    else:
        lines = []
        assert again.workflow.name == "any"

    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
