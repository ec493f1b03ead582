"""Which parts of a Markdown text state something, and therefore need a citation. Pure.

A list, a table or a quotation is one paragraph together with the line that introduces it. These need no citation:
headings, rules, fenced code and the line that introduces it, lists of nothing but links, questions, asides (a paragraph
wholly in italics) and labels (one line of at most `LONGEST_LABEL` words without a figure and without an end of
sentence, such as a salutation or a heading in bold type).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from app.agents.citations import cited_numbers
from app.agents.markdown import prose_lines

LONGEST_LABEL = 12

_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t].*)?")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+")
_STRUCTURE = re.compile(r"[ \t]*(?:[-*+•][ \t]|\d{1,9}[.)][ \t]|\||>)")
_INDENTED = re.compile(r" {2,}|\t")
_LINK = re.compile(r"!?\[[^\[\]]*\]\([^()]*\)|<?https?://[^\s<>]+>?|\[[\d ,–-]+\]")
_ENDS = ".!?…。！？।؟"
# An underscore between letters, as in a variable's name, ends no emphasis.
_ASIDE = re.compile(r"_(?:[^_]|(?<=\w)_(?=\w))+_|\*[^*]+\*")
_CLOSING = " \t\n*_\"'”’»)]"


def factual_paragraphs(markdown: str) -> list[str]:
    """In order, without the code between them."""
    return [paragraph for paragraph in _paragraphs(markdown) if _states_something(paragraph)]


def uncited(paragraphs: Iterable[str]) -> list[int]:
    """The numbers, from 1, of those without a citation."""
    return [number for number, paragraph in enumerate(paragraphs, start=1) if not cited_numbers(paragraph)]


@dataclass(slots=True)
class _Paragraph:
    """Blocks that belong together; looks at each of them once, however many there are."""

    blocks: list[str] = field(default_factory=list)
    is_introduction: bool = False
    is_list: bool = False

    def add(self, block: str) -> None:
        self.blocks.append(block)
        self.is_introduction = _introduces(block)
        self.is_list = self.is_list or any(_ITEM.match(line) for line in block.split("\n"))

    def goes_on_with(self, block: str) -> bool:
        if self.is_introduction:
            return _STRUCTURE.match(block) is not None
        return self.is_list and bool(_ITEM.match(block) or _INDENTED.match(block))


def _paragraphs(markdown: str) -> Iterator[str]:
    last = _Paragraph()
    for block in [*_blocks(markdown), ""]:
        if block and last.goes_on_with(block):
            last.add(block)
            continue
        # The line that introduces code states no more than that code follows.
        if last.blocks and not (block is None and last.is_introduction and not last.is_list):
            yield "\n\n".join(last.blocks)
        last = _Paragraph()
        if block:
            last.add(block)


def _introduces(paragraph: str) -> bool:
    return _unmarked(paragraph).endswith((":", "："))


def _blocks(markdown: str) -> Iterator[str | None]:
    """What blank lines, headings, rules and fences part; `None` for a fence."""
    lines = list[str]()
    for line in [*prose_lines(markdown), ""]:
        is_title = line is not None and len(lines) == 1 and _UNDERLINE.fullmatch(line)
        if line is not None and line.strip() and not is_title and not _is_apart(line):
            lines.append(line)
            continue
        if lines and not is_title:
            yield "\n".join(lines)
        lines = []
        if line is None:
            yield None


def _is_apart(line: str) -> bool:
    return any(pattern.fullmatch(line) for pattern in (_HEADING, _RULE))


def _states_something(paragraph: str) -> bool:
    if any(_STRUCTURE.match(line) for line in paragraph.split("\n")):
        return not _is_list_of_links(paragraph)
    plain = _unmarked(paragraph)
    if not plain or _ASIDE.fullmatch(paragraph.strip()):
        return False
    return not _is_question(plain) and not _is_label(plain)


def _is_list_of_links(paragraph: str) -> bool:
    first, *rest = [line for line in paragraph.split("\n") if line.strip()]
    items = rest if _introduces(first) and not _ITEM.match(first) else [first, *rest]
    return bool(items) and all(_ITEM.match(item) and _is_link(_ITEM.sub("", item, count=1)) for item in items)


def _is_link(text: str) -> bool:
    return _LINK.search(text) is not None and not re.search(r"\w", _LINK.sub("", text))


def _unmarked(paragraph: str) -> str:
    return _LINK.sub("", paragraph).rstrip(_CLOSING)


def _is_question(plain: str) -> bool:
    return plain.endswith(("?", "？", "؟")) and not re.search(rf"[{re.escape(_ENDS)}]\s", plain)


def _is_label(plain: str) -> bool:
    is_short = "\n" not in plain.strip() and len(plain.split()) <= LONGEST_LABEL
    return is_short and not plain.endswith(tuple(_ENDS)) and not re.search(r"\d", plain)
