"""The rule for citations: to what was found only, and in every paragraph that states something. Pure."""

from collections.abc import Sequence

from app.agents.citations import cite, cited_numbers
from app.agents.content.paragraphs import factual_paragraphs, uncited
from app.llm.errors import AgentOutputInvalid
from app.llm.search import SearchResult

_NOT_COUNTED = "headings, code, questions and lists of links are not counted"


def check_citations(text: str, sources: Sequence[SearchResult]) -> None:
    """Raises `AgentOutputInvalid` for a citation of what was not found, and for a paragraph without one.

    A text without sources may cite nothing and needs to cite nothing.
    """
    cite(text, sources)
    if not sources:
        return
    paragraphs = factual_paragraphs(text)
    missing = uncited(paragraphs)
    if missing:
        places = ", ".join(map(str, missing))
        raise AgentOutputInvalid(f"no source is cited in paragraph {places} of {len(paragraphs)} ({_NOT_COUNTED})")
    if not cited_numbers(text):
        raise AgentOutputInvalid(f"the text cites none of its {len(sources)} sources")
