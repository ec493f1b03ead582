"""Deterministic checks: the same verdict for the same output, without asking anybody."""

import importlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from app.agents.citations import cited_numbers
from app.agents.markdown import code_blocks, prose
from app.agents.schema_check import SchemaCheck, SchemaMisfit, SchemaUnusable
from app.governance.evaluation.models import CheckResult, Subject
from app.governance.evaluation.texts import comparable
from app.setting_evaluation import (
    Check,
    CitationsCheck,
    ForbiddenCheck,
    JsonSchemaCheck,
    LanguageCheck,
    LengthCheck,
    RequiredCheck,
    SecretsCheck,
)

MOST_NAMED = 5
# Shorter texts could be in any of several languages.
SHORTEST_JUDGED = 20
LONGEST_JUDGED = 20_000
_WEB = frozenset({"http", "https"})
_SECRETS: Mapping[str, re.Pattern[str]] = {
    "private key": re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "model key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,200}"),
    "search key": re.compile(r"\btvly-[A-Za-z0-9_-]{16,200}"),
    "GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
    "Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,250}"),
    "password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,100}:[^\s/@]{3,200}@"),
    # Begins only where a run of its characters does, or a long one would be read again from everywhere in it.
    "web token": re.compile(
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,2000}"
    ),
}


def check(wanted: Check, subject: Subject) -> CheckResult:
    """One check that needs nothing but the output. `code_parses` and `evaluator` are not among them."""
    return _CHECKS[type(wanted)](wanted, subject)


def _schema(wanted: JsonSchemaCheck, subject: Subject) -> CheckResult:
    data = subject.data if wanted.source == "data" else _json_in(subject.text)
    if data is None:
        where = "the result has no data" if wanted.source == "data" else "the text holds no JSON"
        return failed(wanted, where)
    try:
        SchemaCheck("the schema", wanted.json_schema).check(data)
    except SchemaMisfit as error:
        return failed(wanted, f"it does not fit the schema: {error}")
    except SchemaUnusable as error:
        return failed(wanted, str(error))
    return passed(wanted)


def _json_in(text: str) -> Any:
    """The whole text as JSON, else its first fenced block that is."""
    for candidate in (text, *(block.body for block in code_blocks(text))):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    return None


def _length(wanted: LengthCheck, subject: Subject) -> CheckResult:
    counts = {"words": len(subject.text.split()), "characters": len(subject.text)}
    for unit, count in counts.items():
        least, most = getattr(wanted, f"min_{unit}"), getattr(wanted, f"max_{unit}")
        if least is not None and count < least:
            return failed(wanted, f"it has {count} {unit}, and at least {least} are needed", score=count / least)
        if most is not None and count > most:
            return failed(wanted, f"it has {count} {unit}, and at most {most} are allowed", score=most / count)
    return passed(wanted, **counts)


def _language(wanted: LanguageCheck, subject: Subject) -> CheckResult:
    text = prose(subject.text)[:LONGEST_JUDGED]
    if len(text) < SHORTEST_JUDGED:
        return failed(wanted, f"there is too little prose to tell its language ({len(text)} characters)")
    found = str(_languages().classify(text)[0])
    if found not in wanted.expected:
        expected = ", ".join(wanted.expected)
        return failed(wanted, f"it seems to be written in {found!r}, and {expected} is wanted", found=found)
    return passed(wanted, found=found)


@cache
def _languages() -> Any:
    # It loads a model, which only those need who ask for this check.
    return importlib.import_module("py3langid")


def _forbidden(wanted: ForbiddenCheck, subject: Subject) -> CheckResult:
    said = _all_of(subject)
    found = [text for text in wanted.texts if _occurs(text, said, whole=wanted.whole_words)]
    return failed(wanted, f"it holds what is forbidden: {named(found)}") if found else passed(wanted)


def _required(wanted: RequiredCheck, subject: Subject) -> CheckResult:
    said = _all_of(subject)
    missing = [text for text in wanted.texts if not _occurs(text, said, whole=False)]
    share = 1 - len(missing) / len(wanted.texts)
    return failed(wanted, f"it lacks what is required: {named(missing)}", score=share) if missing else passed(wanted)


def _all_of(subject: Subject) -> str:
    # Nothing that is looked for goes over the end of a part.
    return "\n\0\n".join(map(comparable, subject.texts))


def _occurs(text: str, within: str, *, whole: bool) -> bool:
    wanted = comparable(text)
    if not wanted:
        return False
    return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", within) is not None if whole else wanted in within


def _citations(wanted: CitationsCheck, subject: Subject) -> CheckResult:
    usable = [url for url in subject.urls if _is_web(url)]
    if len(usable) < len(subject.urls):
        return failed(wanted, "a citation has no web address", citations=len(subject.urls))
    if len(usable) < wanted.minimum:
        return failed(wanted, f"it has {len(usable)} citations, and at least {wanted.minimum} are needed")
    dangling = sorted({number for number in cited_numbers(subject.text) if not 1 <= number <= len(usable)})
    if dangling:
        return failed(wanted, f"it cites {named([f'[{number}]' for number in dangling])}, which is not in its list")
    return passed(wanted, citations=len(usable))


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _WEB and bool(parts.hostname)
    except ValueError:
        return False


def _secrets(wanted: SecretsCheck, subject: Subject) -> CheckResult:
    found = [kind for kind, pattern in _SECRETS.items() if any(pattern.search(text) for text in subject.texts)]
    return failed(wanted, f"it holds what looks like a {' and a '.join(found)}") if found else passed(wanted)


def passed(wanted: Check, **details: Any) -> CheckResult:
    return CheckResult(wanted.type, True, 1.0, "", wanted.weight, details)


def failed(wanted: Check, message: str, *, score: float = 0.0, **details: Any) -> CheckResult:
    return CheckResult(wanted.type, False, round(score, 4), message, wanted.weight, details)


def named(texts: list[str]) -> str:
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return ", ".join(repr(text) for text in texts[:MOST_NAMED]) + more


_CHECKS: Mapping[type[Any], Callable[[Any, Subject], CheckResult]] = {
    JsonSchemaCheck: _schema,
    LengthCheck: _length,
    LanguageCheck: _language,
    ForbiddenCheck: _forbidden,
    RequiredCheck: _required,
    CitationsCheck: _citations,
    SecretsCheck: _secrets,
}
