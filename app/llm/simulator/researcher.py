"""Plans searches and checks articles, in the shape of the schemas that ask for it."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.llm.simulator.conversation import Conversation, Kind, Source
from app.llm.simulator.faults import Fault
from app.llm.simulator.words import stems
from app.llm.simulator.writer import CLOSING, subject_of

_PARAGRAPH = re.compile(r'<paragraph id="(?P<number>\d+)">(?P<text>.*?)</paragraph>', re.DOTALL)
_MARKER = re.compile(r"\[(\d+)\]")
_COMPARED = re.compile(r"\b(?:compare|differences? between)\s+(.+?)\s+(?:and|with|to|vs\.?)\s+([^.?!]+)", re.IGNORECASE)
_STATES_NO_FACTS = re.compile(r"\b(?:poem|haiku|sonnet|limerick|lyrics|short story|fairy tale)\b", re.IGNORECASE)


def research_plan(conversation: Conversation) -> Mapping[str, Any]:
    """One search for the subject, and one for each side of a comparison; none for verse and fiction."""
    if _STATES_NO_FACTS.search(conversation.task):
        return {"states_facts": False, "queries": []}
    compared = _COMPARED.search(conversation.task)
    subjects = [subject_of(conversation.task), *(compared.groups() if compared else ())]
    # A fault that is ordered for the search travels with the query: the search sees nothing else.
    orders = "".join(_directive(fault) for fault in conversation.faults if fault.role == Kind.SEARCH)
    return {"states_facts": True, "queries": [f"{subject}{orders}" for subject in subjects]}


def support_verdict(conversation: Conversation) -> Mapping[str, Any]:
    """A paragraph is supported when it shares a word with a source that it cites."""
    sources = {source.number: source for source in conversation.sources}
    return {"unsupported": list(_unsupported(conversation.prompt, sources))}


def _unsupported(prompt: str, sources: Mapping[int, Source]) -> Iterator[dict[str, Any]]:
    for found in _PARAGRAPH.finditer(prompt):
        text = html.unescape(found["text"])
        cited = [sources[int(number)] for number in _MARKER.findall(text) if int(number) in sources]
        if not text.startswith(CLOSING) and not _shares_a_word(_MARKER.sub("", text), cited):
            yield {"paragraph": int(found["number"]), "problem": "Simulated: the cited sources share no word with it."}


def _shares_a_word(text: str, sources: Sequence[Source]) -> bool:
    said = {word for source in sources for word in stems(f"{source.title} {source.text}")}
    return bool(said & set(stems(text)))


def _directive(fault: Fault) -> str:
    options = {
        "role": fault.role,
        "error": fault.error,
        "latency": fault.latency or None,
        "retry_after": fault.retry_after,
        "flaky": fault.flaky or None,
    }
    written = [f"{name}={value}" for name, value in options.items() if value is not None]
    return f" [[sim {' '.join([*written, *([fault.behaviour] if fault.behaviour else [])])}]]"
