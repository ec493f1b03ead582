"""Pictures of workflows: rows, orders and places, and what they say."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.workflows.diagram.colours import FILLS
from app.workflows.diagram.layers import WIDEST, layers_of
from app.workflows.diagram.mermaid import mermaid_of
from app.workflows.diagram.placing import COLUMN_GAP, ROW_GAP, Size, placed
from app.workflows.diagram.svg import svg_of
from app.workflows.language.loading import load_workflow
from app.workflows.language.parts import FileParts
from app.workflows.plan import Plan
from app.workflows.planner import End
from app.workflows.shelf import library_file, library_names

SVG = "{http://www.w3.org/2000/svg}"
NESTED = """
version: 1
name: nested
inputs: {kind: {type: string, enum: [good, bad]}, sizes: {type: array, items: {type: integer}}}
steps:
  all:
    for_each: "${{ inputs.sizes }}"
    steps:
      tries:
        loop: {until: "true", max_iterations: 3}
        steps: {work: {transform: {a: 1}}, check: {needs: [work], emit: checked}}
  choose:
    needs: [all]
    switch: inputs.kind
    cases:
      good: {steps: {thank: {emit: thanked}}}
      bad: {steps: {sorry: {emit: "regretted"}}}
finally:
  tell: {emit: told}
"""


def _plan(text: str) -> Plan:
    return load_workflow(text, source="x", resolve=FileParts(Path())).plan


def _texts(drawn: str) -> list[str]:
    picture = ElementTree.fromstring(drawn)  # noqa: S314 - of our own making
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """Each node needs some of those before it."""
    size = draw(st.integers(0, 40))
    return [draw(st.lists(st.integers(0, node - 1), unique=True, max_size=4)) if node else [] for node in range(size)]


@given(graphs())
def test_every_edge_goes_down_row_by_row_and_no_row_is_crowded(needs: Sequence[Sequence[int]]) -> None:
    layers = layers_of(needs)
    place = {node: number for number, row in enumerate(layers.rows) for node in row}

    assert sorted(node for node in place if node < len(needs)) == list(range(len(needs)))
    assert all(sum(node < len(needs) for node in row) <= WIDEST for row in layers.rows)
    assert [(chain[0], chain[-1]) for chain in layers.chains] == [
        (need, node) for node, needed in enumerate(needs) for need in needed
    ]
    assert all(place[after] - place[before] == 1 for chain in layers.chains for before, after in pairwise(chain))


@given(graphs(), st.data())
def test_no_box_touches_another_or_leaves_the_picture(needs: Sequence[Sequence[int]], data: st.DataObject) -> None:
    sides = st.tuples(st.integers(20, 300), st.integers(20, 300))
    sizes = [Size(*data.draw(sides)) for _ in needs]

    placement = placed(sizes, needs)

    boxes = list(zip(placement.corners, sizes, strict=True))
    for place, ((left, top), size) in enumerate(boxes):
        assert left >= -0.01
        assert top >= 0
        assert left + size.width <= placement.size.width + 0.01
        assert top + size.height <= placement.size.height
        for (other_left, other_top), other in boxes[:place]:
            assert (
                left + size.width + COLUMN_GAP <= other_left + 0.01
                or other_left + other.width + COLUMN_GAP <= left + 0.01
                or top + size.height + ROW_GAP <= other_top
                or other_top + other.height + ROW_GAP <= top
            )


def test_crossings_that_can_be_avoided_are() -> None:
    layers = layers_of([[], [], [], [2], [1], [0]])

    assert layers.rows in ([[0, 1, 2], [5, 4, 3]], [[2, 1, 0], [3, 4, 5]])


def test_whatever_a_step_holds_is_drawn_inside_of_it() -> None:
    texts = _texts(svg_of(_plan(NESTED)))

    for words in ("all", "each", "tries", "loop at most 3 times", "work", "case good", "case bad", "sorry", "finally"):
        assert words in texts


@pytest.mark.parametrize("state", list(FILLS))
def test_a_state_is_told_in_words_and_not_by_colour_alone(state: str) -> None:
    drawn = svg_of(_plan(NESTED), {"all": state})

    assert any(state in text for text in _texts(drawn))
    assert FILLS[state] in drawn


def test_every_end_has_a_colour() -> None:
    assert {end.value for end in End} <= FILLS.keys()


def test_what_people_wrote_steers_neither_picture_nor_flowchart() -> None:
    text = """
version: 1
name: hostile
steps:
  one: {task: '</text><script>alert("1")</script>&\\0 \x85 [x]"'}
""".replace("\\0", "")

    drawn, chart = svg_of(_plan(text)), mermaid_of(_plan(text))

    assert 'task </text><script>alert("1")</s…' in _texts(drawn)
    assert "<script" not in drawn
    assert re.search(r"<(?!br/>)|\"1", chart) is None


@pytest.mark.parametrize("name", library_names())
def test_a_workflow_of_the_library_is_drawn_the_same_each_time(name: str) -> None:
    path = library_file(name)
    first, again = (
        load_workflow(path.read_text(), source=str(path), resolve=FileParts(path.parent)).plan for _ in range(2)
    )

    assert svg_of(first) == svg_of(again)
    assert set(first.workflow.steps) <= set(_texts(svg_of(first)))


def test_two_thousand_steps_that_need_many_others_are_drawn_nevertheless() -> None:
    needs = [", ".join(f"s{need}" for need in range(number % 50, number, 61)) for number in range(2000)]
    steps = "".join(f"  s{number}: {{transform: {{a: 1}}, needs: [{one}]}}\n" for number, one in enumerate(needs))

    drawn = svg_of(_plan(f"version: 1\nname: many\nsteps:\n{steps}"))

    assert drawn.count('class="box"') == 2000
