"""Works on a text that the prompt quotes: reads what is wanted, and answers in the shape of the schema that asks."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from app.llm.simulator.conversation import Conversation
from app.llm.simulator.example import example_of
from app.llm.simulator.words import split_words, stem, stems

_MATERIAL = re.compile(
    r"^Parameters: (?P<parameters>.*)\n===== (?P<mark>\w+)\n(?P<text>.*)\n===== (?P=mark)", re.DOTALL
)
_HANDED_IN = "A text was handed in"
_SENTENCE = re.compile(r"[^\s][^.!?\n]*[.!?]?")
_SIMULATED = "Simulated: the words of the text decided."
_POSITIVE = set(
    map(stem, split_words("good great love excellent happy clean fast friendly perfect thanks helpful nice wonderful"))
)
_NEGATIVE = set(
    map(stem, split_words("bad terrible hate slow broken dirty late rude awful crash worst never nobody disappointed"))
)
_OPERATIONS = (
    ("translate", r"\btranslat"),
    ("classify", r"\b(?:classif|categori[sz]|label)"),
    ("extract", r"\bextract|\bpull out\b"),
    ("summarise", r"\b(?:summar|shorten|in \d+ words)"),
    ("sentiment", r"\b(?:sentiment|positive|negative|mood|tone)"),
)
_LANGUAGE = re.compile(r"\b(?:into|to|in)\s+(?P<name>[A-Z][a-z]+)\b")
_LABELS = re.compile(r"\b(?:as|into|labels?)\s+(?P<list>[^:.?!]+)")
_FIELDS = re.compile(r"\b(?:extract|pull out)\s+(?P<list>.+?)\s+(?:from|of|in)\b", re.IGNORECASE)
_WORDS = re.compile(r"\b(?P<number>\d+) words\b")
_SEPARATOR = re.compile(r"\s*,\s*(?:and|or)?\s*|\s+(?:and|or)\s+")
_ARTICLE = re.compile(r"^(?:the|a|an|its|all)\s+", re.IGNORECASE)
_FOUND_BY: tuple[tuple[str, str], ...] = (
    ("email", r"[\w.+-]+@[\w-]+\.[\w.]*\w"),
    ("date", r"\b\d{4}-\d{2}-\d{2}\b"),
    ("name", r"\b[A-Z]\w+(?: [A-Z]\w+)+"),
)
_NUMBER = r"-?\d+(?:\.\d+)?"


def text_answer(conversation: Conversation) -> Mapping[str, Any]:
    """An order for a task in words, else the outcome of the operation whose schema asks."""
    asked: Mapping[str, Any] = conversation.schema.get("properties", {})
    quoted = _MATERIAL.search(conversation.task)
    if "operation" in asked or quoted is None:
        return _order(conversation)
    answer: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = next(
        (make for member, make in _ANSWERS.items() if member in asked), lambda *_: example_of(conversation.schema)
    )
    return answer(quoted["text"], json.loads(quoted["parameters"]))


def _order(conversation: Conversation) -> Mapping[str, Any]:
    task = conversation.task
    request, colon, text = task.partition(":")
    operation = next((name for name, sign in _OPERATIONS if re.search(sign, request, re.IGNORECASE)), None)
    material, begins, ends = _material(conversation, text if colon else "", request)
    language, labels = _LANGUAGE.search(request), _LABELS.search(request)
    fields, words = _FIELDS.search(request), _WORDS.search(request)
    order = {
        "operation": operation or "summarise",
        "material": material or "message",
        "begins_with": begins,
        "ends_with": ends,
        "labels": _listed(labels["list"]) if labels and operation == "classify" else [],
        "fields": [_field(name) for name in _listed(fields["list"])] if fields and operation == "extract" else [],
        "language": language["name"] if language else "",
        "max_words": int(words["number"]) if words else 0,
    }
    return {**order, "missing": _missing(order, has_operation=operation is not None, has_text=material is not None)}


def _material(conversation: Conversation, text: str, request: str) -> tuple[str | None, str, str]:
    if _HANDED_IN in conversation.system:
        return "handed_in", "", ""
    words = text.split()
    if words:
        return "message", " ".join(words[:4]), " ".join(words[-4:])
    # "Is this comment positive? It was late.": what follows the question.
    _, _, rest = request.partition("? ")
    if rest.strip():
        words = rest.split()
        return "message", " ".join(words[:4]), " ".join(words[-4:])
    return ("previous_answer", "", "") if conversation.history else (None, "", "")


def _missing(order: Mapping[str, Any], *, has_operation: bool, has_text: bool) -> str:
    needed = {"classify": "labels", "extract": "fields", "translate": "language"}.get(order["operation"])
    if not has_operation:
        return "operation"
    if not has_text:
        return "text"
    return needed if needed and not order[needed] else "nothing"


def _listed(text: str) -> list[str]:
    return [_ARTICLE.sub("", part).strip() for part in _SEPARATOR.split(text.strip()) if _ARTICLE.sub("", part).strip()]


def _field(name: str) -> Mapping[str, str]:
    is_number = stem(name.lower()) in {stem(word) for word in ("amount", "total", "price", "number", "age", "sum")}
    return {
        "name": "_".join(split_words(name)),
        "type": "number" if is_number else "string",
        "description": f"The {name} in the text.",
    }


def _sentiment(text: str, _: Mapping[str, Any]) -> Mapping[str, Any]:
    charged = [word for word in map(stem, split_words(text)) if word in _POSITIVE | _NEGATIVE]
    good = sum(word in _POSITIVE for word in charged)
    score = round((2 * good - len(charged)) / len(charged), 2) if charged else 0.0
    feeling = "neutral" if not charged else "mixed" if abs(score) < 0.3 else "positive" if score > 0 else "negative"
    sentences = _sentences(text)
    quotes = [one for one in sentences if set(map(stem, split_words(one))) & (_POSITIVE | _NEGATIVE)]
    return {"sentiment": feeling, "score": score, "quotes": (quotes or sentences)[:3]}


def _summary(text: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    words = " ".join(_sentences(text)[:3]).split()[: parameters["max_words"]]
    return {"summary": " ".join(words)}


def _label(text: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The label that shares most words with the text; of equals the first."""
    said = set(stems(text))
    label = max(parameters["labels"], key=lambda one: len(said & set(stems(one))))
    shared = bool(said & set(stems(label)))
    return {"label": label, "confidence": 0.9 if shared else 0.5, "reason": _SIMULATED}


def _extraction(text: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    fields, evidence = dict[str, Any](), list[Mapping[str, str]]()
    required = parameters["schema"].get("required", ())
    for name, part in parameters["schema"]["properties"].items():
        found = _found(name, part, text)
        if found is not None:
            fields[name] = found[0]
            evidence.append({"field": name, "quote": found[1]})
        elif name in required:
            fields[name] = None if "null" in _types(part) else example_of(part)
    return {"fields_json": json.dumps(fields), "evidence": evidence}


def _found(name: str, part: Mapping[str, Any], text: str) -> tuple[Any, str] | None:
    """A value of the field's type and the words it was read from."""
    types = _types(part)
    if "number" in types or "integer" in types:
        found = re.search(_NUMBER, text)
        value = float(found[0]) if found else 0.0
        return None if found is None else (int(value) if value.is_integer() else value, found[0])
    if "string" not in types:
        return None
    said = re.search(rf"\b{re.escape(name.replace('_', ' '))}(?: is)?[: ]+([^\n.,;]+)", text, re.IGNORECASE)
    if said:
        return said[1].strip(), said[1].strip()
    sign = next((pattern for word, pattern in _FOUND_BY if word in name.lower()), None)
    found = re.search(sign, text) if sign else None
    return None if found is None else (found[0], found[0])


def _types(part: Mapping[str, Any]) -> Sequence[str]:
    named = part.get("type", "string")
    return named if isinstance(named, list) else [named]


def _translation(text: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    language = parameters["language"]
    return {"translation": f"[{language}, simulated] {text}", "source_language": "unknown"}


def _sentences(text: str) -> list[str]:
    return list(_matches(text)) or [text.strip()]


def _matches(text: str) -> Iterator[str]:
    for found in _SENTENCE.finditer(text):
        yield found[0].strip()


_ANSWERS: Mapping[str, Callable[[str, Mapping[str, Any]], Mapping[str, Any]]] = {
    "sentiment": _sentiment,
    "summary": _summary,
    "label": _label,
    "fields_json": _extraction,
    "translation": _translation,
}
