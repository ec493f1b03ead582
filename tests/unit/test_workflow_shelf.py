"""The library's documents as the loader sees them, and the excerpts that the documentation shows of them."""

import pytest

from app.agents.registry import Registry
from app.errors import NotFound
from app.workflows.language.loading import Definition, load_workflow
from app.workflows.language.parts import FileParts
from app.workflows.language.problems import WorkflowInvalid
from app.workflows.shelf import LIBRARY, library_file, library_names
from tests.architecture.markdown import read_page
from tests.architecture.tree import ROOT

TUTORIAL = ROOT / "docs" / "tutorials" / "workflows.md"
PARTS = {"design-plan-implement": ["delivery-design", "delivery-implement", "delivery-plan"]}


def loaded(name: str, text: str | None = None) -> Definition:
    file = library_file(name)
    written = file.read_text("utf-8") if text is None else text
    return load_workflow(written, source=file.name, resolve=FileParts(file.parent), catalogue=Registry())


@pytest.mark.parametrize("name", library_names())
def test_a_workflow_of_the_library_is_valid_and_has_its_files_name(name: str) -> None:
    definition = loaded(name)

    assert definition.workflow.name == name
    assert sorted(part.workflow.name for part in definition.parts.values()) == PARTS.get(name, [])


@pytest.mark.parametrize("name", library_names())
@pytest.mark.parametrize("written", ["steps.", "inputs."])
def test_a_misspelt_reference_in_it_is_refused_where_it_stands(name: str, written: str) -> None:
    text = library_file(name).read_text("utf-8")
    before, _, after = text.rpartition(f"${{{{ {written}")

    with pytest.raises(WorkflowInvalid) as refused:
        loaded(name, f"{before}${{{{ {written}misspelt_{after}")

    # What a block scalar says is told where its member begins, and a reference may be looked at twice.
    (place,) = {(one.line, one.path) for one in refused.value.problems}
    assert abs(place[0] - (before.count("\n") + 1)) <= 2
    assert "misspelt_" in refused.value.message


def test_every_file_of_the_library_is_a_workflow_or_called_by_one() -> None:
    called = {LIBRARY / part.source for name in library_names() for part in loaded(name).parts.values()}

    assert called | {library_file(name) for name in library_names()} == set(LIBRARY.rglob("*.yaml"))


@pytest.mark.parametrize("name", ["content-anlysis", "../library/content-analysis", "delivery/design", ""])
def test_a_name_that_is_not_on_the_shelf_is_answered_with_those_that_are(name: str) -> None:
    with pytest.raises(NotFound) as refused:
        library_file(name)

    assert all(known in refused.value.message for known in library_names())


def test_a_name_that_is_nearly_right_is_put_right() -> None:
    with pytest.raises(NotFound, match="did you mean 'content-analysis'"):
        library_file("content-anlysis")


def test_what_the_tutorial_quotes_of_each_workflow_stands_in_the_library() -> None:
    shown = [block.text for block in read_page(TUTORIAL).blocks if block.language == "yaml"]
    texts = {name: library_file(name).read_text("utf-8") for name in library_names()}

    # Each excerpt is of another document.
    assert sorted(name for text in shown for name in texts if text in texts[name]) == library_names()
