"""The pages the simulated search knows: the project's documentation and a few general paragraphs."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from app.llm.simulator.words import VOCABULARY, stems

SITE = "https://docs.example.com"
_HEADING = re.compile(r"^(#{1,4})\s+(.+?)\s*#*$")
_LIST_MARKER = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
# Generated tables say little in a sentence.
_SKIPPED = "reference"
_FENCE = re.compile(r"^(```|~~~)")
_NOT_PROSE = re.compile(r"^\s*(```|~~~|\||[-=*_]{3,}\s*$)")
_NOISE = re.compile(r"[*`|>#]|(?<!\w)_|_(?!\w)|\[\^?\d+\]")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MOST_BYTES = 4_000_000
_LONGEST_SNIPPET = 600
_TITLE_WEIGHT = 3
_LAST_RESORT = "About the simulated search"
_TAIL = 0.4
# "Write a short article about …" says what is wanted, not what it is about.
_ABOUT_THE_ORDER = {
    word for word, topic in VOCABULARY.topic_of.items() if topic in {"prose", "knowledge", "question", "making"}
}


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    url: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    page: Page
    score: float


class Corpus:
    """Built once; each search looks only at the pages that share a word with the query."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self._pages = list(pages)
        self._titles = [frozenset(stems(page.title)) for page in self._pages]
        self._postings: dict[str, dict[int, int]] = {}
        for position, page in enumerate(self._pages):
            for word, count in _counts(page).items():
                self._postings.setdefault(word, {})[position] = count

    def search(self, query: str, *, most: int) -> list[Hit]:
        """Best first; when no page fits, the one that says what this search is."""
        wanted = set(stems(query)) - _ABOUT_THE_ORDER
        scores: dict[int, float] = {}
        for word in wanted & self._postings.keys():
            found = self._postings[word]
            rarity = math.log(1 + len(self._pages) / len(found))
            for position, count in found.items():
                scores[position] = scores.get(position, 0.0) + rarity * count / (count + 1)
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        close = [(position, score) for position, score in ranked if self._speaks_of(position, wanted)]
        hits = [Hit(self._pages[position], score) for position, score in close if score >= _TAIL * close[0][1]]
        return hits[:most] or self._last_resort(most)

    def _speaks_of(self, position: int, wanted: set[str]) -> bool:
        """A word of the query in its title, or most of them in its text: one passing word is not enough."""
        if wanted & self._titles[position]:
            return True
        return 2 * sum(position in self._postings.get(word, {}) for word in wanted) > len(wanted)

    def _last_resort(self, most: int) -> list[Hit]:
        return [Hit(page, 0.0) for page in self._pages if page.title == _LAST_RESORT][:most]


def load_corpus(docs: Path | None) -> Corpus:
    """The general paragraphs, and the Markdown files under `docs` when there is such a folder."""
    general = files(__package__).joinpath("general.md").read_text("utf-8")
    pages = list(sections(general, "general"))
    if docs is not None and docs.is_dir():
        pages.extend(_pages_under(docs))
    return Corpus(pages)


def sections(markdown: str, path: str) -> Iterator[Page]:
    """One page per heading, its address `<site>/<path>#<anchor>`; code, tables and markup are left out."""
    page_title, title, lines, fenced = "", path, list[str](), False
    for line in markdown.splitlines():
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.match(line)
        if heading is None:
            lines += [] if fenced or _NOT_PROSE.match(line) else [_LIST_MARKER.sub("", line)]
            continue
        yield from _page(title, path, lines)
        title, lines = _plain(heading[2]), []
        if len(heading[1]) == 1:
            page_title = title
        elif page_title:
            # "Consequences" alone would say nothing in a list of sources.
            title = f"{page_title}: {title}"
    yield from _page(title, path, lines)


def _pages_under(docs: Path) -> Iterator[Page]:
    budget = _MOST_BYTES
    for file in sorted(docs.rglob("*.md")):
        if file.relative_to(docs).parts[0] == _SKIPPED:
            continue
        budget -= file.stat().st_size
        if budget < 0:
            return
        relative = file.relative_to(docs).with_suffix("").as_posix()
        yield from sections(file.read_text("utf-8", errors="replace"), relative)


def _page(title: str, path: str, lines: Iterable[str]) -> Iterator[Page]:
    text = _plain(" ".join(lines))
    if text:
        anchor = re.sub(r"[^\w]+", "-", title.rpartition(": ")[2].lower()).strip("-")
        yield Page(title, f"{SITE}/{path}#{anchor}", _shortened(text))


def _plain(text: str) -> str:
    return " ".join(_NOISE.sub("", _LINK.sub(r"\1", text)).split())


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_SNIPPET:
        return text
    sentence = text[:_LONGEST_SNIPPET].rpartition(". ")[0]
    return f"{sentence}." if sentence else text[:_LONGEST_SNIPPET]


def _counts(page: Page) -> Counter[str]:
    counts = Counter(stems(page.text))
    for word in stems(page.title):
        counts[word] += _TITLE_WEIGHT
    return counts
