"""Markdown about a task, put together from the sources the prompt quotes."""

import re
from collections.abc import Sequence
from dataclasses import replace

from app.llm.simulator.conversation import Source

NOTICE = "_Simulated answer: set OPENAI_API_KEY for a real model._"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_VERBS = "write|draft|create|compose|give|explain|describe|summari[sz]e|research|outline|compare|discuss|tell|find|make"
_FILLERS = (
    "me|us|up|out|a|an|the|short|brief|long|detailed|simple|two|three|one|paragraphs?|words?|article|blog|post|essay|"
    r"report|summary|overview|introduction|story|guide|\d+"
)
_ORDER = re.compile(
    rf"^(?:please\s+|can you\s+|could you\s+)*(?:{_VERBS})\s+"
    rf"(?:(?:{_FILLERS})[\s-]+)*(?:(?:about|on|of|for|how|what)\s+)?",
    re.IGNORECASE,
)
_TO_ME = re.compile(r"\s+(?:to|for) (?:me|us)$", re.IGNORECASE)
_MARKER = re.compile(r"\s*\[[\d,\s–-]+\]")
_LONGEST_TITLE = 70
_MOST_SOURCES = 4
CLOSING = "In short, "


def article(task: str, sources: Sequence[Source]) -> str:
    """Several paragraphs that quote and mark each source, or say that there was none."""
    title = subject_of(task)
    body = _from_sources(title, [_unmarked(source) for source in sources]) if sources else _without_sources(title)
    return "\n\n".join([f"# {title}", *body, NOTICE])


def _unmarked(source: Source) -> Source:
    # A page's own "[2, 3]" would be read as markers of ours.
    return replace(source, title=_MARKER.sub("", source.title), text=_MARKER.sub("", source.text))


def subject_of(task: str) -> str:
    flat = " ".join(task.split())
    subject = _TO_ME.sub("", (_ORDER.sub("", flat) or flat).rstrip(" .!?"))
    if len(subject) > _LONGEST_TITLE:
        subject = subject[:_LONGEST_TITLE].rsplit(" ", 1)[0]
    return subject[:1].upper() + subject[1:] or "Untitled"


def _from_sources(title: str, sources: Sequence[Source]) -> list[str]:
    used = sources[:_MOST_SOURCES]
    opening = f"{_first_sentence(used[0])} [{used[0].number}]"
    paragraphs = [f"## {source.title}\n\n{_rest(source, opening)}" for source in used]
    marks = " ".join(f"[{source.number}]" for source in used)
    closing = f"{CLOSING}what these {len(used)} sources say about “{title}” fits together {marks}."
    if len(used) == 1:
        closing = f"{CLOSING}this is what the one source found says about “{title}” {marks}."
    return [opening, *paragraphs, closing]


def _rest(source: Source, opening: str) -> str:
    sentences = [_closed(sentence) for sentence in _SENTENCE_END.split(source.text) if sentence]
    said = [sentence for sentence in sentences if not opening.startswith(sentence)] or sentences
    return f"{' '.join(said[:4])} [{source.number}]"


def _first_sentence(source: Source) -> str:
    return _closed(_SENTENCE_END.split(source.text, maxsplit=1)[0] or source.title)


def _closed(sentence: str) -> str:
    stripped = sentence.strip()
    return stripped if stripped.endswith((".", "!", "?")) else f"{stripped}."


def _without_sources(title: str) -> list[str]:
    return [
        f"This text about “{title}” was written without any web source, so nothing in it is cited.",
        "A real model would answer here from what it learned in training; the simulator has no such knowledge.",
        "Configure a web search to have the text rest on sources that a reader can check.",
    ]
