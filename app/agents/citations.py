"""Markers such as [2] in a text, and the sources they stand for."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from app.agents.base import Citation
from app.llm.errors import AgentOutputInvalid
from app.llm.search import SearchResult

_CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`)", re.DOTALL)
_MARKER = re.compile(r"\[(\d{1,3}(?:\s*[,–-]\s*\d{1,3})*)\]")
_RANGE = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")


def cite(text: str, sources: Sequence[SearchResult]) -> tuple[str, tuple[Citation, ...]]:
    """The text with its markers renumbered from 1 without gaps, and the sources it refers to in that order.

    So [2] is always the second citation. Raises `AgentOutputInvalid` for a marker that stands for no source.
    """
    used = cited_numbers(text)
    invented = [number for number in used if not 1 <= number <= len(sources)]
    if invented:
        raise AgentOutputInvalid(
            f"the model cites source {invented[0]}, but it was given {len(sources)}", sources=len(sources)
        )
    places = {number: place for place, number in enumerate(used, start=1)}
    return _renumbered(text, places), tuple(_citation(sources[number - 1]) for number in used)


def cited_numbers(text: str) -> list[int]:
    """The sources that the text refers to, ascending and each once; what looks like a marker in code is none."""
    return _numbers(span for group in _groups(text) for span in _spans(group))


def _groups(text: str) -> list[str]:
    return [group for part in _CODE.split(text)[::2] for group in _MARKER.findall(part)]


def _spans(group: str) -> Iterator[tuple[int, int]]:
    for found in _RANGE.finditer(group):
        first, last = sorted((int(found[1]), int(found[2] or found[1])))
        yield first, last


def _numbers(spans: Iterable[tuple[int, int]]) -> list[int]:
    """What is in any of them. However often a text repeats a long range, its numbers are counted out once."""
    numbers = list[int]()
    for first, last in sorted(set(spans)):
        numbers += range(max(first, numbers[-1] + 1) if numbers else first, last + 1)
    return numbers


def _renumbered(text: str, places: Mapping[int, int]) -> str:
    parts = _CODE.split(text)
    parts[::2] = [_MARKER.sub(lambda found: _marker(found[1], places), part) for part in parts[::2]]
    return "".join(parts)


def _marker(group: str, places: Mapping[int, int]) -> str:
    return f"[{', '.join(str(places[number]) for number in _numbers(_spans(group)))}]"


def _citation(result: SearchResult) -> Citation:
    return Citation(source=result.source, title=result.title, url=result.url)
