"""Documents to definitions: every problem at once with its place, sub-workflows, digests, and what is hostile."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.source_problems import MOST_PROBLEMS
from app.workflows.language.loading import DEEPEST_CALL, MOST_PARTS, load_workflow, part_names
from app.workflows.language.parts import FileParts
from app.workflows.language.problems import WorkflowInvalid
from tests.workflow_documents import SOURCE, load, problems_of

BAD = Path(__file__).parents[1] / "corpus" / "workflows" / "bad"
EXPECTED = re.compile(r"^#! (\d+) (\S+): ?(.*)$", re.MULTILINE)
A_MOMENT = 10.0
SMALL = "version: 1\nname: small\nsteps:\n  a: {agent: echo}\n"


def calls(*names: str, name: str) -> str:
    steps = "".join(f"  call_{number}: {{workflow: {called}}}\n" for number, called in enumerate(names))
    return f"version: 1\nname: {name}\nsteps:\n  own: {{agent: echo}}\n{steps}"


@pytest.mark.parametrize("path", sorted(BAD.iterdir()), ids=lambda path: path.name)
def test_every_problem_of_a_bad_document_is_told_with_its_line_path_and_fix(path: Path) -> None:
    data = path.read_bytes()
    expected = [(int(line), part, told.strip()) for line, part, told in EXPECTED.findall(data.decode())]

    problems = problems_of(data)

    assert [(one.line, one.path) for one in problems] == [(line, part) for line, part, _ in expected]
    assert [told for one, (_, _, told) in zip(problems, expected, strict=True) if told not in one.told] == []


def test_the_error_is_told_line_by_line_for_people_and_as_fields_for_programs() -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        load(SMALL.replace("agent", "agnt"))

    told = "there is no key 'agnt' here"
    assert caught.value.message == f"flow.yaml:4:7: steps.a.agnt: {told}: did you mean 'agent'?"
    assert caught.value.details["problems"] == [
        {"line": 4, "column": 7, "path": "steps.a.agnt", "message": told, "fix": "did you mean 'agent'?", "source": ""}
    ]


def test_no_more_problems_are_told_than_anyone_reads() -> None:
    steps = "".join(f"  s{number}: {{agnt: echo}}\n" for number in range(MOST_PROBLEMS + 50))

    assert len(problems_of(f"version: 1\nname: many\nsteps:\n{steps}")) == MOST_PROBLEMS


def test_a_valid_document_is_compiled_and_keeps_its_text() -> None:
    definition = load(SMALL)

    assert [node.name for node in definition.plan.body.nodes] == ["a"]
    assert definition.source_text == SMALL
    assert definition.document == {"version": 1, "name": "small", "steps": {"a": {"agent": "echo"}}}
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", definition.digest)


def test_json_and_yaml_of_the_same_document_have_the_same_digest() -> None:
    as_json = json.dumps({"version": 1, "name": "small", "steps": {"a": {"agent": "echo"}}})

    assert load(as_json).digest == load(SMALL).digest == load(f"# a comment\n{SMALL}").digest


@pytest.mark.parametrize(
    "changed",
    [
        SMALL.replace("echo", "other"),
        SMALL.replace("small", "smaller"),
        SMALL + "  b: {agent: echo}\n",
        SMALL + "inputs: {x: {type: string, nullable: true, default: null}}\n",
        SMALL + "inputs: {x: {type: string, nullable: true}}\n",
        SMALL + "finally: {b: {agent: echo}}\n",
    ],
)
def test_the_digest_changes_with_what_the_document_says(changed: str) -> None:
    others = {load(SMALL).digest, load(SMALL + "inputs: {x: {type: string}}\n").digest}

    assert load(changed).digest not in others


def test_the_order_of_steps_is_part_of_the_digest() -> None:
    one, other = "  a: {agent: echo}\n", "  b: {agent: echo}\n"
    head = "version: 1\nname: two\nsteps:\n"

    assert load(head + one + other).digest != load(head + other + one).digest


def test_the_digest_covers_what_is_called_at_any_depth() -> None:
    top, middle = calls("middle", name="top"), calls("leaf", name="middle")

    before = load(top, middle=middle, leaf=SMALL)
    after = load(top, middle=middle, leaf=SMALL.replace("echo", "other"))

    assert before.digest != after.digest
    assert list(before.parts) == ["middle"]
    assert before.plan.parts["middle"].parts["leaf"].workflow.name == "small"


def test_a_part_that_is_called_twice_is_loaded_once() -> None:
    definition = load(calls("a", "b", name="top"), a=calls("leaf", name="a"), b=calls("leaf", name="b"), leaf=SMALL)

    assert definition.parts["a"].parts["leaf"] is definition.parts["b"].parts["leaf"]


def test_problems_of_a_part_are_told_with_its_source() -> None:
    problems = problems_of(calls("leaf", name="top"), leaf=SMALL.replace("agent", "agnt"))

    assert [(one.source, one.line, one.path) for one in problems] == [("leaf", 4, "steps.a.agnt")]


def test_problems_of_the_document_and_of_its_parts_are_told_together() -> None:
    top = calls("leaf", "absent", name="top").replace("agent: echo", "agent: echo, timeout: 60")

    problems = problems_of(top, leaf="- no mapping")

    assert [(one.source, one.line) for one in problems] == [("", 4), ("", 6), ("leaf", 1)]
    assert problems[1].message == "there is no workflow 'absent'"


@pytest.mark.parametrize(
    "parts",
    [
        {"middle": calls("top", name="middle"), "top": calls("middle", name="top")},
        {"middle": calls("middle", name="middle")},
        {"middle": calls("deeper", name="middle"), "deeper": calls("middle", name="deeper")},
        {"middle": SMALL.replace("small", "top")},
    ],
    ids=["by another", "itself", "below", "same name"],
)
def test_a_workflow_cannot_call_itself(parts: dict[str, str]) -> None:
    problems = problems_of(calls("middle", name="top"), **parts)

    assert len(problems) == 1
    assert problems[0].message.startswith("a workflow cannot call itself: top → ")


def test_calls_within_each_other_and_parts_are_bounded() -> None:
    chain = {f"w{number}": calls(f"w{number + 1}", name=f"n{number}") for number in range(1, DEEPEST_CALL + 1)}
    wide = {f"w{number}": SMALL.replace("small", f"n{number}") for number in range(MOST_PARTS + 1)}

    deep_problems = problems_of(calls("w1", name="top"), **chain)
    wide_problems = problems_of(calls(*wide, name="top"), **wide)

    assert [one.source for one in deep_problems] == [f"w{DEEPEST_CALL - 1}"]
    assert ["are loaded" in one.message for one in wide_problems] == [True]


def test_names_of_parts_are_told_of_valid_documents_only() -> None:
    assert part_names(calls("a", "b", "a", name="top")) == ["a", "b"]
    assert part_names("nonsense: [") == []


def test_files_are_found_from_the_one_that_calls_them(tmp_path: Path) -> None:
    (tmp_path / "delivery").mkdir()
    (tmp_path / "delivery" / "plan.yaml").write_text(calls("../shared.json", "beside", name="plan"))
    (tmp_path / "delivery" / "beside.yml").write_text(SMALL.replace("small", "beside"))
    (tmp_path / "shared.json").write_text(json.dumps({"version": 1, "name": "s", "steps": {"a": {"agent": "echo"}}}))

    top = calls("delivery/plan.yaml", name="top")
    definition = load_workflow(top, source=SOURCE, resolve=FileParts(tmp_path))

    plan = definition.parts["delivery/plan.yaml"]
    assert plan.source == "delivery/plan.yaml"
    assert [part.source for part in plan.parts.values()] == ["shared.json", "delivery/beside.yml"]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("../outside.yaml", "outside of the folder"),
        ("below/../../outside.yaml", "outside of the folder"),
        ("ABSOLUTE", "outside of the folder"),
        ("link.yaml", "is a link"),
        ("linked/outside.yaml", "is a link, or in a folder that is one"),
        ("absent.yaml", "there is no file absent.yaml"),
        ("absent", "there is no file absent.yaml beside"),
        ("folder.yaml", "there is no file folder.yaml"),
        ("large.yaml", "it is larger than"),
        (f"{'x' * 290}.yaml", "cannot be read: File name too long"),
        ("x" * 290, "cannot be read: File name too long"),
    ],
)
def test_a_file_outside_of_the_folder_is_never_read(tmp_path: Path, reference: str, told: str) -> None:
    outside, root = tmp_path / "outside.yaml", tmp_path / "root"
    outside.write_text(SMALL)
    (root / "folder.yaml").mkdir(parents=True)
    (root / "link.yaml").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path)
    (root / "large.yaml").write_text(f"#{'x' * 1024 * 1024}")
    reference = reference.replace("ABSOLUTE", str(outside))

    with pytest.raises(WorkflowInvalid) as caught:
        load_workflow(calls(reference, name="top"), source=SOURCE, resolve=FileParts(root))

    assert told in caught.value.problems[0].message
    assert str(tmp_path) not in caught.value.problems[0].message


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nname: x\nsteps:\n" + "".join(f"  {'  ' * n}a{n}:\n    {'  ' * n}steps:\n" for n in range(100)),
        "version: 1\nname: x\nsteps: " + "{a: {steps: " * 40 + "{b: {agent: e}}" + "}}" * 40,
        "version: 1\nname: x\nsteps:\n" + "".join(f"  s{n}: {{agent: echo}}\n" for n in range(5_000)),
        "version: 1\nname: x\nsteps:\n" + "".join(f"  s{n}: {{agnt: echo, needs: [s{n + 1}]}}\n" for n in range(5_000)),
        f"version: 1\nname: x\nsteps: {{a: {{agent: echo, with: {{x: '{'${{ ' * 20_000}'}}}}}}",
        f"version: 1\nname: {'x' * 100_000}\nsteps: {{a: {{agent: echo, timeout: {'9' * 1000}d}}}}",
        f"version: 1\nname: x\nsteps: {{a: {{agent: echo, if: '{'(' * 1900}'}}}}",
    ],
    ids=["lines deep", "flow deep", "many", "many wrong", "templates", "long", "expression"],
)
def test_a_hostile_document_is_refused_in_a_moment(text: str) -> None:
    started = time.monotonic()

    problems = problems_of(text)

    assert problems
    assert len(problems) <= MOST_PROBLEMS
    assert time.monotonic() - started < A_MOMENT


KEYS = st.sampled_from(
    ["version", "name", "inputs", "steps", "needs", "agent", "if", "loop", "type", "a", "b", "output"]
)
SOUP = st.recursive(
    st.sampled_from([None, True, 0, 1, "", "a", "${{ x", "1h", "[", "echo"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(SOUP, SOUP)
@settings(max_examples=80)
def test_any_document_is_loaded_or_refused_with_places(steps: Any, rest: Any) -> None:
    text = json.dumps({"version": 1, "name": "x", "inputs": rest, "steps": {"a": steps, "b": rest}}, indent=1)

    problems = problems_or_none(text)

    assert all(1 <= one.line <= text.count("\n") + 1 and one.path and one.message for one in problems)


def problems_or_none(text: str) -> Any:
    try:
        load(text)
    except WorkflowInvalid as error:
        return error.problems
    return ()
