"""What the command line of `orchestrate replay` wants to be different."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import Invalid
from app.llm.usage import ModelRole

LARGEST_PROMPT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Changes:
    prompts: Mapping[str, str]
    models: Mapping[ModelRole, str]
    agent: str | None
    is_live: bool


def read_changes(prompts: Sequence[str], models: Sequence[str], *, agent: str | None, is_live: bool) -> Changes:
    """Raises `Invalid`."""
    if agent and not is_live:
        raise Invalid("another agent asks other questions, which were not recorded: add --live")
    return Changes(_prompts(prompts), _models(models), agent, is_live)


def _prompts(given: Sequence[str]) -> dict[str, str]:
    return {name: _text_of(path) for name, path in map(_pair, given)}


def _text_of(path: str) -> str:
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"--prompt: {path} cannot be read as UTF-8 text: {type(error).__name__}") from error
    if len(text) > LARGEST_PROMPT:
        raise Invalid(f"--prompt: {path} has {len(text)} characters; a prompt has at most {LARGEST_PROMPT}")
    return text


def _models(given: Sequence[str]) -> dict[ModelRole, str]:
    roles = ", ".join(ModelRole)
    try:
        return {ModelRole(role): model for role, model in map(_pair, given)}
    except ValueError as error:
        raise Invalid(f"--model: there is no such role; these are: {roles}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise Invalid(f"{text!r}: write it as NAME=VALUE")
    return name, value
