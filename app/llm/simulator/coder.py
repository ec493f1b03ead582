"""Code for a task: a ready-made classic in the language asked for, or a small documented function."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from app.llm.languages import language_named_in
from app.llm.simulator.words import VOCABULARY, split_words, stem, stems

NOTICE = "_Simulated answer: set OPENAI_API_KEY for a real model._"
DEFAULT_LANGUAGE = "python"
_CAMEL_CASE = {"javascript", "typescript", "java", "go", "csharp", "kotlin", "swift", "scala", "php"}
_LONGEST_PURPOSE = 90


@dataclass(frozen=True, slots=True)
class Snippet:
    """`matches` holds alternatives; one fits when the task has all of its stems. None fits by default."""

    matches: tuple[frozenset[str], ...]
    template: Template


def program(task: str) -> str:
    """One paragraph of explanation, one fenced block with its language, one line that says it is simulated."""
    language = language_named_in(task) or DEFAULT_LANGUAGE
    written = best_snippet(language, task).template.substitute(_names(language, task))
    return f"{written}\n\n{NOTICE}"


def best_snippet(language: str, task: str) -> Snippet:
    snippets = _snippets(language)
    wanted = set(stems(task)) | {stem(word) for word in split_words(task)}
    return max(snippets, key=lambda snippet: max((len(m) for m in snippet.matches if m <= wanted), default=-1))


@cache
def _snippets(language: str) -> tuple[Snippet, ...]:
    folder = files(f"{__package__}.snippets")
    file = folder.joinpath(f"{language}.md")
    text = (file if file.is_file() else folder.joinpath("other.md")).read_text("utf-8")
    return tuple(_snippet(part) for part in re.split(r"^## .*\n", text, flags=re.MULTILINE) if part.strip())


def _snippet(part: str) -> Snippet:
    first, _, rest = part.strip().partition("\n")
    if not first.startswith("match:"):
        return Snippet((frozenset(),), Template(part.strip()))
    alternatives = first.removeprefix("match:").split("|")
    return Snippet(
        tuple(frozenset(stem(word) for word in alternative.split()) for alternative in alternatives),
        Template(rest.strip()),
    )


def _names(language: str, task: str) -> Mapping[str, str]:
    return {"language": language, "name": _function_name(language, task), "purpose": _purpose(task)}


def _function_name(language: str, task: str) -> str:
    words = [word for word in split_words(task) if word.isascii() and word.isalpha() and _names_something(word)][:3]
    chosen = words or ["answer"]
    if language in _CAMEL_CASE:
        return chosen[0] + "".join(word.capitalize() for word in chosen[1:])
    return "_".join(chosen)


def _names_something(word: str) -> bool:
    topic = VOCABULARY.topic_of.get(stem(word))
    return word not in VOCABULARY.stop and topic not in {"program", "language", "making"}


def _purpose(task: str) -> str:
    """The task as one harmless line: it is put between quotes and after comment signs."""
    words = re.sub(r"[^\w ,.()-]", "", " ".join(task.split()))
    return words[:_LONGEST_PURPOSE].rstrip(" .,") or "Do what was asked"
