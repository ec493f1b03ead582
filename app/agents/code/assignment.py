"""What exactly is to be done: decided by rules from a task's words, its typed input and what was said before. Pure."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.agents.base import AgentRequest, OutputFile
from app.agents.code.contract import CodeInputs, Mode
from app.agents.code.modes import mode_named_in
from app.agents.code.names import default_name
from app.agents.markdown import code_blocks
from app.llm.follow_ups import is_follow_up
from app.llm.languages import is_format, language_named_in, language_of_path, language_of_tag
from app.llm.messages import Message

_DIALECTS = {
    "postgres": "postgres(?:ql)?",
    "mysql": "mysql|mariadb",
    "sqlite": "sqlite3?",
    "tsql": r"t-?sql|ms ?sql|sql server",
    "oracle": r"oracle|pl/?sql",
    "bigquery": "bigquery",
    "snowflake": "snowflake",
    "redshift": "redshift",
    "duckdb": "duckdb",
    "clickhouse": "clickhouse",
    "databricks": "databricks",
    "spark": "spark ?sql",
    "hive": "hive(?:ql)?",
    "trino": "trino",
    "presto": "presto(?:db)?",
}
_DIALECT_NAMES = tuple((name, re.compile(rf"\b(?:{words})\b", re.IGNORECASE)) for name, words in _DIALECTS.items())


@dataclass(frozen=True, slots=True)
class Assignment:
    """`language` is what the answer has to be in, if that is said; `hint` what it may be in, for want of better.

    It `is_strict` about the language when the typed input names it: words may be about a language without wanting it.
    `material` is the code to work on; what was `handed_in` apart from the task's words the model has not seen yet.
    """

    mode: Mode
    language: str | None
    is_strict: bool
    hint: str | None
    dialect: str | None
    material: tuple[OutputFile, ...]
    handed_in: bool

    def path_for(self, language: str | None) -> str | None:
        """The only file that was given keeps its name when it is changed in place."""
        if not self.handed_in or len(self.material) != 1 or self.mode not in {Mode.GENERATE, Mode.REFACTOR}:
            return None
        given = self.material[0]
        return given.path if given.language == language else None


def understand(request: AgentRequest) -> Assignment:
    """The typed input decides, then the task's words; a task that goes on with an earlier one takes over the rest."""
    # As JSON, where a strict model takes a string for an enum.
    inputs = CodeInputs.model_validate_json(json.dumps(dict(request.inputs)))
    asked = [message.content for message in request.history if message.role == "user"]
    before = _code_of(request.history)
    goes_on = is_follow_up(request.text)
    mode = inputs.mode or _mode([request.text, *(reversed(asked) if goes_on else ())])
    # Code that is converted is not yet in the language that is asked for.
    handed_in = _handed_in(inputs, None if mode is Mode.GENERATE else inputs.language)
    material = handed_in or _fenced(request.text) or (before if goes_on or mode is not Mode.GENERATE else ())
    named = language_named_in(request.text) or _language_of(material)
    return Assignment(
        mode=mode,
        language=inputs.language or (named if named and not is_format(named) else None),
        is_strict=inputs.language is not None,
        hint=named,
        dialect=_dialect([request.text, *(reversed(asked) if goes_on else ())]),
        material=material,
        handed_in=bool(handed_in),
    )


def _mode(texts: Iterable[str]) -> Mode:
    return next((mode for mode in map(mode_named_in, texts) if mode is not None), Mode.GENERATE)


def _dialect(texts: Iterable[str]) -> str | None:
    return next((name for text in texts for name, words in _DIALECT_NAMES if words.search(text)), None)


def _handed_in(inputs: CodeInputs, language: str | None) -> tuple[OutputFile, ...]:
    files = tuple(OutputFile(file.path, file.content, language_of_path(file.path)) for file in inputs.files)
    if inputs.code is None:
        return files
    name = _name_of_piece(language)
    is_taken = name.casefold() in {file.path.casefold() for file in files}
    return (*files, OutputFile(f"given-{name}" if is_taken else name, inputs.code, language))


def _fenced(text: str) -> tuple[OutputFile, ...]:
    """The longest fenced block of a message, as a file."""
    blocks = code_blocks(text)
    if not blocks:
        return ()
    block = max(blocks, key=lambda one: len(one.body))
    language = language_of_tag(block.tag)
    return (OutputFile(_name_of_piece(language), f"{block.body}\n", language),)


def _name_of_piece(language: str | None) -> str:
    return default_name(language, "", Mode.GENERATE) if language else "code.txt"


def _code_of(history: Sequence[Message]) -> tuple[OutputFile, ...]:
    """The newest code that the session speaks of."""
    return next((files for message in reversed(history) if (files := _fenced(message.content))), ())


def _language_of(material: Sequence[OutputFile]) -> str | None:
    """When all of the code is in one language, so is the answer."""
    known = {file.language for file in material}
    return known.pop() if len(known) == 1 else None
