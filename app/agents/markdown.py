"""The few things agents read out of Markdown: fenced code, prose, and a plain summary."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from app.llm.errors import AgentOutputInvalid

LONGEST_OUTPUT = 400_000
SUMMARY_LENGTH = 200
_SUMMARIZED = 1000  # the patterns below are quadratic at worst, so they see only the beginning of a paragraph

# Possessive: a line of nothing but blanks or tildes must not be read again from each of its characters.
_FENCE = re.compile(r"[ ]{0,3}(?P<mark>`{3,}+|~{3,}+)(?P<tag>[^`]*+)")
_BLOCK_NOISE = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t].*$|[-*_=]{3,}[ \t]*$|>[ \t]?|[-*+][ \t]+|\d+[.)][ \t]+)", re.MULTILINE
)
_LINK = re.compile(r"!?\[([^\]]+)\]\([^)]*\)")
_MARKER = re.compile(r"\s*\[\d{1,3}(?:\s*[,–-]\s*\d{1,3})*\]")
_EMPHASIS = re.compile(r"(\*\*|__|\*|`|~~)(?=\S)(.+?)(?<=\S)\1")
_SENTENCE = re.compile(r".+?[.!?](?=\s|$)", re.DOTALL)
_SHORTEST_SENTENCE = 20
_MARKDOWN_TAGS = {"", "md", "markdown"}


@dataclass(frozen=True, slots=True)
class CodeBlock:
    tag: str
    body: str


def checked_output(text: str) -> str:
    """The text without surrounding blanks. Raises `AgentOutputInvalid` for a blank or a huge one."""
    stripped = text.strip()
    if not stripped:
        raise AgentOutputInvalid("the model answered with nothing")
    if len(stripped) > LONGEST_OUTPUT:
        raise AgentOutputInvalid(f"the model's answer is longer than {LONGEST_OUTPUT} characters")
    return stripped


def code_blocks(markdown: str) -> list[CodeBlock]:
    """Closed, non-blank fences in order; what an unclosed one holds was cut off and does not count."""
    return _split(markdown)[0]


def unwrapped(markdown: str) -> str:
    """The text itself when the whole answer was put into one fence, as models like to do with Markdown."""
    blocks = code_blocks(markdown)
    is_wrapped = len(blocks) == 1 and blocks[0].tag.lower() in _MARKDOWN_TAGS and not prose(markdown)
    return blocks[0].body if is_wrapped else markdown


def prose(markdown: str) -> str:
    """The text outside of fences, closed or not."""
    return "\n".join(line for line in prose_lines(markdown) if line is not None).strip()


def prose_lines(markdown: str) -> list[str | None]:
    """The lines outside of fences; `None` stands where a fence was."""
    return _split(markdown)[1]


def change_prose(markdown: str, change: Callable[[str], str]) -> str:
    """The text with what is outside of fences changed. Fences keep what they hold, and begin their line."""
    done, outside = list[str](), list[str]()
    opening: re.Match[str] | None = None
    for line in [*markdown.replace("\r\n", "\n").split("\n"), None]:
        fence = None if line is None else _FENCE.fullmatch(line)
        if opening is None and fence is None and line is not None:
            outside.append(line)
            continue
        if outside:
            done.append(change("\n".join(outside)))
            outside = []
        if opening is None:
            opening = fence
        elif fence is not None and _closes(fence, opening):
            opening = None
        else:
            fence = None
        done += [] if line is None else [line if fence is None else line.lstrip()]
    return "\n".join(done)


def _split(markdown: str) -> tuple[list[CodeBlock], list[str | None]]:
    blocks, outside = list[CodeBlock](), list[str | None]()
    opening: re.Match[str] | None = None
    body: list[str] = []
    for line in markdown.replace("\r\n", "\n").split("\n"):
        fence = _FENCE.fullmatch(line)
        if opening is None and fence is None:
            outside.append(line)
        elif opening is None:
            outside.append(None)
            opening, body = fence, []
        elif fence is None or not _closes(fence, opening):
            body.append(line)
        else:
            blocks += [CodeBlock(opening["tag"].strip(), "\n".join(body))] if "".join(body).strip() else []
            opening = None
    return blocks, outside


def _closes(fence: re.Match[str], opening: re.Match[str]) -> bool:
    return not fence["tag"].strip() and fence["mark"].startswith(opening["mark"])


def summarize(markdown: str, *, fallback: str = "") -> str:
    """The first sentence of the first paragraph, without Markdown, at most about 200 characters."""
    for paragraph in re.split(r"\n[ \t]*\n", prose(markdown)):
        plain = _plain(paragraph[:_SUMMARIZED])
        if plain:
            return _shortened(_first_sentence(plain))
    return _shortened(_plain(fallback[:_SUMMARIZED]))


def _plain(paragraph: str) -> str:
    text = _MARKER.sub("", _LINK.sub(r"\1", _BLOCK_NOISE.sub("", paragraph)))
    return " ".join(_EMPHASIS.sub(r"\2", text).split())


def _first_sentence(text: str) -> str:
    end = 0
    # "Dr. Smith" and "e.g." end no sentence; what is very short is joined with what follows.
    for sentence in _SENTENCE.finditer(text):
        end = sentence.end()
        if end >= _SHORTEST_SENTENCE:
            break
    return text[:end] or text


def _shortened(text: str) -> str:
    if len(text) <= SUMMARY_LENGTH:
        return text
    return f"{text[:SUMMARY_LENGTH].rsplit(' ', 1)[0].rstrip(' ,;:')}…"
