"""What can be checked in a page of documentation: its fenced blocks, its links and its headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.tree import ROOT

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*(\S*)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$")
_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block and where it begins."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    path: Path
    prose: str
    blocks: tuple[Block, ...]

    @property
    def links(self) -> list[str]:
        return _LINK.findall(_CODE.sub("", self.prose))

    @property
    def anchors(self) -> set[str]:
        """The anchors that forges make of the headings."""
        headings = filter(None, map(_HEADING.match, self.prose.splitlines()))
        return {_anchor(heading[1]) for heading in headings}


def pages() -> list[Page]:
    """The documentation and the Markdown files at the top."""
    return [read_page(path) for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))]


def read_page(path: Path) -> Page:
    prose: list[str] = []
    blocks = list(_blocks(path, prose))
    return Page(path, "\n".join(prose), tuple(blocks))


def blocks_of(*languages: str) -> list[Block]:
    return [block for page in pages() for block in page.blocks if block.language in languages]


def _blocks(path: Path, prose: list[str]) -> Iterator[Block]:
    fence, language, begins, lines = "", "", 0, list[str]()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        found = _FENCE.match(line)
        if not fence and found is None:
            prose.append(line)
        elif not fence and found is not None:
            fence, language, begins, lines = found[1], found[2], number, []
        elif found is not None and found[1].startswith(fence) and not found[2]:
            yield Block(path, begins, language, "\n".join(lines))
            fence = ""
        else:
            lines.append(line)


def _anchor(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
    return words.strip().replace(" ", "-")
