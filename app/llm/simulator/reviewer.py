"""A review of code: what a few patterns find, line by line."""

import re
from collections.abc import Iterator

from app.llm.simulator.coder import NOTICE
from app.llm.simulator.conversation import Conversation
from app.llm.simulator.fences import Fenced, fences_in

_NUMBERED = re.compile(r"^ *\d+ \| ?", re.MULTILINE)
_KNOWN = (
    (r"\b(?:eval|exec)\(", "critical", "Input is run as code.", "Parse it instead."),
    (
        r"(?i)\b(?:select|insert|update|delete)\b.*[\"']\s*\+",
        "critical",
        "A value becomes part of the SQL.",
        "Bind it.",
    ),
    (r"(?i)\b(?:password|secret|api_?key|token)\s*=\s*[\"']", "critical", "A secret is in the code.", "Configure it."),
    (
        r"\bexcept\s*:|\bcatch\s*(?:\(\w*\)\s*)?\{\s*\}",
        "medium",
        "Every error is swallowed.",
        "Catch what is expected.",
    ),
    (r"[=!]= None\b", "low", "None is compared by value.", "Use `is`."),
    (r"\b(?:TODO|FIXME)\b", "info", "Something is left to do.", None),
)
_MOST = 20


def review_of(conversation: Conversation) -> dict[str, object]:
    """As the schema `CodeReview` has it."""
    texts = [conversation.task, *(text for _, text in reversed(conversation.history))]
    given = next((found for found in map(fences_in, texts) if found), [])
    findings = [finding for code in given for finding in _findings(code)][:_MOST]
    return {"summary": f"Simulated review: {len(findings)} findings by pattern. {NOTICE}", "findings": findings}


def _findings(code: Fenced) -> Iterator[dict[str, object]]:
    body = _NUMBERED.sub("", code.body)
    for number, line in enumerate(body.splitlines(), start=1):
        for pattern, severity, message, suggestion in _KNOWN:
            if re.search(pattern, line):
                found = {"severity": severity, "message": message, "suggestion": suggestion}
                yield {"file": code.path, "line": number, **found}
