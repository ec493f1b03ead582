"""Prompts are files. What a user writes is put in once and never looked at for placeholders again."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str

    @property
    def digest(self) -> str:
        """Tells two versions of a prompt apart in evaluations and logs."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def render(self, **values: str) -> str:
        """Raises `KeyError` when a placeholder has no value."""
        return Template(self.text).substitute(values)


@cache
def load_prompt(name: str) -> Prompt:
    """`app/agents/prompts/<name>.md`"""
    return Prompt(files("app.agents.prompts").joinpath(f"{name}.md").read_text("utf-8").strip())
