"""Code for a task: a ready-made classic in the language asked for, or a small documented function.

What it is told of mode and language is read from the prompt. A task that goes on with an earlier one ("and now in Go")
is about what that one was about.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from app.llm.follow_ups import is_follow_up
from app.llm.languages import language_named_in, language_of_tag
from app.llm.simulator.conversation import Conversation
from app.llm.simulator.faults import without_directives
from app.llm.simulator.fences import Fenced, fences_in
from app.llm.simulator.words import VOCABULARY, split_words, stem, stems

NOTICE = "_Simulated answer: set OPENAI_API_KEY for a real model._"
DEFAULT_LANGUAGE = "python"
_CAMEL_CASE = {"javascript", "typescript", "java", "go", "csharp", "kotlin", "swift", "scala", "php"}
_LONGEST_PURPOSE = 90
_TESTS = "unit test"
_MODE = re.compile(r"^Mode: (\w+)$", re.MULTILINE)
_LANGUAGE = re.compile(r"^Language: (\S+)$", re.MULTILINE)
_DEFINED = re.compile(r"\b(?:def|class|function|func|fn|struct|interface|type)\s+(\w+)")


@dataclass(frozen=True, slots=True)
class Snippet:
    """`matches` holds alternatives; one fits when the task has all of its stems. None fits by default."""

    matches: tuple[frozenset[str], ...]
    template: Template


def answer_of(conversation: Conversation) -> str:
    """What the prompt's mode asks for; a prompt that names none wants a program."""
    told = _MODE.search(conversation.system)
    mode = told[1] if told else "generate"
    subject, language = subject_of(conversation), _language_of(conversation)
    given = _given(conversation)
    if mode == "explain":
        return _explained(given[0] if given else fences_in(program(subject, language))[0])
    if mode == "refactor" and given:
        return _returned(given)
    return program(subject, language, snippet=_TESTS if mode == "test" else None)


def program(task: str, language: str | None = None, *, snippet: str | None = None) -> str:
    """One paragraph of explanation, one fenced block with its language, one line that says it is simulated."""
    language = language or language_named_in(task) or DEFAULT_LANGUAGE
    written = best_snippet(language, snippet or task).template.substitute(_names(language, task))
    return f"{written}\n\n{NOTICE}"


def subject_of(conversation: Conversation) -> str:
    """The newest request that can be understood alone."""
    asked = [
        conversation.task,
        *(without_directives(text) for role, text in reversed(conversation.history) if role == "user"),
    ]
    return next((text for text in asked if not is_follow_up(text)), conversation.task)


def best_snippet(language: str, task: str) -> Snippet:
    snippets = _snippets(language)
    wanted = set(stems(task)) | {stem(word) for word in split_words(task)}
    return max(snippets, key=lambda snippet: max((len(m) for m in snippet.matches if m <= wanted), default=-1))


def _language_of(conversation: Conversation) -> str | None:
    told = _LANGUAGE.search(conversation.system)
    named = language_of_tag(told[1]) if told else language_named_in(conversation.task)
    given = _given(conversation)
    return named or language_named_in(conversation.task) or (language_of_tag(given[0].info) if given else None)


def _given(conversation: Conversation) -> list[Fenced]:
    """The code of the task; of one that goes on with an earlier one the newest that was spoken of."""
    texts = [conversation.task]
    if is_follow_up(conversation.task):
        texts += [text for _, text in reversed(conversation.history)]
    return next((found for found in map(fences_in, texts) if found), [])


def _explained(code: Fenced) -> str:
    lines = [line for line in code.body.splitlines() if line.strip()]
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(_DEFINED.findall(code.body))) or "no name of its own"
    language = language_of_tag(code.info) or "plain text"
    return (
        f"This is {language} of {len(lines)} lines that defines {names}.\n\n"
        "It reads its input, works on it from top to bottom, and hands the result to its caller. "
        f"A real model would say more about what it does.\n\n{NOTICE}"
    )


def _returned(given: list[Fenced]) -> str:
    blocks = "\n\n".join(
        code.written(body="\n".join(line.rstrip() for line in code.body.splitlines())) for code in given
    )
    return f"Blanks at the ends of lines are gone; what the code does stayed the same.\n\n{blocks}\n\n{NOTICE}"


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
    if len(chosen) == 1 and chosen[0] in VOCABULARY.reserved:
        chosen.insert(0, "make")
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
