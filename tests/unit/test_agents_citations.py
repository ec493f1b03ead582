import pytest

from app.agents.citations import cite, cited_numbers
from app.llm.errors import AgentOutputInvalid
from tests.fakes.agents import a_source

SOURCES = [a_source(1), a_source(2), a_source(3)]


def test_only_sources_the_text_refers_to_are_cited() -> None:
    text, citations = cite("Wind is cheap [2].", SOURCES)

    assert [citation.url for citation in citations] == ["https://example.com/2"]
    assert text == "Wind is cheap [1]."


def test_a_marker_is_the_place_of_its_citation() -> None:
    text, citations = cite("First [3], then [1], again [3].", SOURCES)

    assert text == "First [2], then [1], again [2]."
    assert [citation.title for citation in citations] == ["Page 1", "Page 3"]


@pytest.mark.parametrize("markers", ["[1, 3]", "[1][3]", "[1] [3]"])
def test_lists_of_markers_count_each(markers: str) -> None:
    _, citations = cite(f"Both {markers}.", SOURCES)

    assert len(citations) == 2


def test_a_range_counts_all_between() -> None:
    text, citations = cite("All [1-3].", SOURCES)

    assert text == "All [1, 2, 3]."
    assert len(citations) == 3


@pytest.mark.parametrize("text", ["Invented [4].", "Before the first [0].", "A list [1, 9]."])
def test_a_source_that_was_not_given_makes_the_answer_invalid(text: str) -> None:
    with pytest.raises(AgentOutputInvalid, match="cites source"):
        cite(text, SOURCES)


@pytest.mark.timeout(10)
def test_long_ranges_over_and_over_are_counted_out_once() -> None:
    hostile = f"All [{','.join(['1-999'] * 65_000)}]."

    assert cited_numbers(hostile) == list(range(1, 1000))


def test_ranges_that_overlap_name_each_source_once() -> None:
    text, citations = cite("All [2-3, 1-2, 3].", SOURCES)

    assert text == "All [1, 2, 3]."
    assert len(citations) == 3


def test_a_text_without_sources_may_not_cite() -> None:
    with pytest.raises(AgentOutputInvalid):
        cite("Trust me [1].", [])


def test_indexes_in_code_are_no_markers() -> None:
    text = "Take `items[7]`.\n\n```python\nprint(items[9])\n```\n"

    assert cite(text, SOURCES) == (text, ())


def test_years_and_links_are_no_markers() -> None:
    text = "In [2024] and [here](https://example.com)."

    assert cite(text, SOURCES) == (text, ())
