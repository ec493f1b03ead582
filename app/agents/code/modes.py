"""What a task's words ask to be done with code. Rules, no model: the same words always mean the same."""

import re

from app.agents.code.contract import Mode

_POLITE = r"(?:(?:please|kindly|and|now|then|also|can|could|would|will|you|i|want|need|to|let's|me|ok|okay)\b[\s,]*)*"
_THINGS = r"(?:it|this|that|these|those|them|the|my|our|your|following|above|code|every|each|all)"
# What may stand between "write" and "tests": "some unit", but nothing of which the tests would only be a part.
_KIND_OF_TESTS = r"(?:(?!with\b|and\b|that\b|to\b|plus\b|for\b|which\b|function\b|class\b|script\b)[\w+#.-]+\s+){0,4}?"
_TESTS = r"(?:tests\b|test\s+(?:cases?|suites?)\b|test\b(?=\s+(?:for|of)\b|\W*$))"
_MAKE = r"(?:write|add|create|generate|give|implement|make|provide|produce)"
_FLAWS = r"(?:bugs?|problems?|issues?|mistakes|vulnerabilit(?:y|ies)|flaws)"
_RULES = (
    (Mode.TEST, rf"{_POLITE}{_MAKE}\s+{_KIND_OF_TESTS}{_TESTS}"),
    (Mode.TEST, rf"{_POLITE}(?:unit[\s-]+)?test\s+{_THINGS}\b|{_POLITE}cover\s+{_THINGS}\b.*\btests?\b"),
    (Mode.TEST, rf"{_POLITE}(?:with\s+)?(?:unit\s+|integration\s+)?tests\s+(?:for|of)\b"),
    (Mode.REVIEW, rf"{_POLITE}(?:do\s+a\s+|a\s+)?(?:code[\s-]+|security[\s-]+)?(?:review|audit|critique)\b(?!s\b)"),
    (Mode.REVIEW, rf"{_POLITE}(?:find|list|spot|look for|check for|point out)\s+(?:\w+\s+){{0,3}}?{_FLAWS}\b"),
    (Mode.REVIEW, rf"{_POLITE}what(?:\s+is|'s)\s+wrong\b"),
    (Mode.EXPLAIN, rf"{_POLITE}(?:explain|describe|walk\s+(?:me\s+)?through|comment\s+on|document\s+how)\b"),
    (Mode.EXPLAIN, rf"{_POLITE}(?:what|how|why)\s+(?:does|do|is|are)\s+{_THINGS}\b"),
    (Mode.REFACTOR, rf"{_POLITE}(?:refactor|restructure|simplify|clean\s+up|tidy|deduplicate|modernize|modernise)\b"),
    (Mode.REFACTOR, rf"{_POLITE}(?:rewrite|make)\s+{_THINGS}\b.*\b(?:readable|cleaner|simpler|shorter|idiomatic)\b"),
    (Mode.GENERATE, rf"{_POLITE}(?:{_MAKE}|build|develop|code|design|draft|fix|debug|repair|convert|translate|port)\b"),
    (Mode.GENERATE, rf"{_POLITE}(?:rewrite|extend|change|optimi[sz]e|migrate|show)\b"),
)
_PATTERNS = tuple((mode, re.compile(pattern, re.IGNORECASE)) for mode, pattern in _RULES)
_MOST_CHARACTERS = 400


def mode_named_in(task: str) -> Mode | None:
    """The mode that the beginning of a task asks for, None when it says none. The first rule that fits decides.

    Fixing and converting are `generate`: unlike `refactor` they change what the code does, or what it is written in.
    """
    # Behind the beginning come details and code, which speak of many things.
    beginning = " ".join(task[:_MOST_CHARACTERS].split())
    return next((mode for mode, pattern in _PATTERNS if pattern.match(beginning)), None)
