"""The summary of an earlier conversation, put together from the turns the prompt quotes."""

import html
import re
from collections.abc import Iterator

from app.llm.simulator.faults import without_directives

_EARLIER = re.compile(r"<summary>\n(?P<text>.*?)\n</summary>", re.DOTALL)
_TURN = re.compile(r"<user>(?P<question>.*?)</user>\s*<assistant>(?P<answer>.*?)</assistant>", re.DOTALL)
_FACT = re.compile(r"^- (.+)$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_LONGEST = 60
_MOST_FACTS = 15


def summary_of(prompt: str) -> dict[str, object]:
    """One fact for each turn, behind those of the summary that is continued; of many the newest."""
    facts = [*_known(prompt), *(_told(found) for found in _TURN.finditer(prompt))]
    return {
        "summary": f"Simulated summary: the user asked {len(facts)} things, and each was answered.",
        "facts": facts[-_MOST_FACTS:],
    }


def _known(prompt: str) -> Iterator[str]:
    earlier = _EARLIER.search(prompt)
    for found in _FACT.finditer(earlier["text"] if earlier else ""):
        yield html.unescape(found[1])


def _told(turn: re.Match[str]) -> str:
    return f"Asked: {_begin(turn['question'])} Answered: {_begin(turn['answer'])}"


def _begin(escaped: str) -> str:
    """The first sentence, as one line."""
    flat = " ".join(without_directives(html.unescape(escaped)).split())
    first = _SENTENCE_END.split(flat, maxsplit=1)[0]
    return first if len(first) <= _LONGEST else f"{first[:_LONGEST].rstrip()}…"
