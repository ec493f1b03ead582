"""Judges an output by a rubric, in the shape of the schema `RubricVerdict`: by the words it shares with a criterion."""

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.llm.simulator.conversation import Conversation
from app.llm.simulator.words import stems

_CRITERION = re.compile(r'<criterion name="(?P<name>[^"]*)">(?P<text>.*?)</criterion>', re.DOTALL)
_OUTPUT = re.compile(r"<output>\n(?P<text>.*)\n</output>", re.DOTALL)
_LONGEST_QUOTE = 160
_CONFIDENCE = 0.8
_TOO_SHORT = 20


def rubric_verdict(conversation: Conversation) -> Mapping[str, Any]:
    """5 when half of a criterion's words are in the output, 4 for any of them, else 2; 1 for next to nothing."""
    found = _OUTPUT.search(conversation.prompt)
    output = html.unescape(found["text"]).strip() if found else ""
    return {"criteria": list(_judged(conversation.prompt, output))}


def _judged(prompt: str, output: str) -> Iterator[dict[str, Any]]:
    for criterion in _CRITERION.finditer(prompt):
        wanted = set(stems(html.unescape(criterion["text"])))
        score, quote = _score(wanted, output)
        share = len(wanted & set(stems(output)))
        yield {
            "name": html.unescape(criterion["name"]),
            "reason": f"Simulated: {share} of the {len(wanted)} words of the criterion are in the output.",
            "quote": quote,
            "score": score,
            "confidence": _CONFIDENCE,
        }


def _score(wanted: set[str], output: str) -> tuple[int, str]:
    if len(output) < _TOO_SHORT:
        return 1, ""
    shared = wanted & set(stems(output))
    if not shared:
        return 2, ""
    line = next(line for line in output.splitlines() if shared & set(stems(line)))
    return (5 if 2 * len(shared) >= len(wanted) else 4), line.strip()[:_LONGEST_QUOTE]
