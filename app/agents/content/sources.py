"""Which of the pages that were found a text is written from. Pure: equal findings give equal sources."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from app.agents.content.characters import visible
from app.agents.links import canonical_url
from app.llm.search import SearchResult

LONGEST_TITLE = 200
LONGEST_SNIPPET = 1500
SHORTEST_SNIPPET = 200
LONGEST_URL = 2000
# About 4,000 tokens, at three characters a token for text that is not English.
LONGEST_MATERIAL = 12_000

_UNSAFE_IN_URL = re.compile(r"[\s<>\"'`\\\[\]]")
# The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).
_FUSION = 60


def usable(result: SearchResult) -> SearchResult | None:
    """The result cleaned and cut to what a prompt may hold; `None` for one that nothing can rest on."""
    snippet = cut(visible(result.snippet), LONGEST_SNIPPET)
    is_address = len(result.url) <= LONGEST_URL and result.url.isprintable() and not _UNSAFE_IN_URL.search(result.url)
    if not snippet or not is_address or canonical_url(result.url) is None:
        return None
    source = _flat(result.source)[:LONGEST_TITLE]
    return replace(result, title=_flat(result.title)[:LONGEST_TITLE] or source, snippet=snippet, source=source)


def ranked(findings: Iterable[Sequence[SearchResult]]) -> list[SearchResult]:
    """What several searches found, each page once, by reciprocal rank fusion; of equals the one found first."""
    scores: dict[str, float] = {}
    pages: dict[str, SearchResult] = {}
    for results in findings:
        for rank, result in enumerate(results, start=1):
            page, key = usable(result), canonical_url(result.url)
            if page is None or key is None:
                continue
            pages.setdefault(key, page)
            scores[key] = scores.get(key, 0.0) + 1 / (_FUSION + rank)
    return [pages[key] for key in sorted(scores, key=lambda key: -scores[key])]


def read(pages: Sequence[SearchResult], *, most: int, longest: int = LONGEST_MATERIAL) -> list[SearchResult]:
    """The first `most` pages that fit into `longest` characters; the last is cut when enough of it is left."""
    sources, left = list[SearchResult](), longest
    for page in pages[:most]:
        room = left - len(page.title) - len(page.url)
        if len(page.snippet) > room and room < SHORTEST_SNIPPET:
            break
        sources.append(replace(page, snippet=cut(page.snippet, room)))
        left = room - len(sources[-1].snippet)
    return sources


def cut(text: str, longest: int) -> str:
    """One line of at most `longest` characters that ends with a whole word."""
    flat = _flat(text)
    if len(flat) <= longest:
        return flat
    return f"{flat[: longest - 1].rsplit(' ', 1)[0]}…"


def _flat(text: str) -> str:
    return " ".join(visible(text).split())
