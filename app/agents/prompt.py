"""Prompts are files. What a user writes is put in once and never looked at for placeholders again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Self


class PromptText(str):
    """A rendered prompt that still knows which prompt it was rendered from, so that a run can tell."""

    __slots__ = ("digest", "name")
    name: str
    digest: str

    def __new__(cls, text: str, *, name: str, digest: str) -> Self:
        rendered = super().__new__(cls, text)
        rendered.name, rendered.digest = name, digest
        return rendered

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, str]]:
        # What an agent puts into its answer is copied.
        return (str(self),), {"name": self.name, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    name: str = "inline"

    @property
    def digest(self) -> str:
        """Tells two versions of a prompt apart in evaluations and logs."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def render(self, **values: str) -> PromptText:
        """Raises `KeyError` when a placeholder has no value."""
        return PromptText(Template(self.text).substitute(values), name=self.name, digest=self.digest)


_OWN = "app.agents.prompts"
_replaced: dict[str, Prompt] = {}
_used: set[str] = set()


def replace_prompts(texts: Mapping[str, str]) -> None:
    """From now on `load_prompt` answers these by name, for a process that tries out changes before it loads agents."""
    _replaced.update({name: Prompt(text.strip(), name) for name, text in texts.items()})
    load_prompt.cache_clear()
    _used.clear()


def unknown_replacements() -> list[str]:
    """Those of `replace_prompts` that nobody asked for since, and that are no prompt of the product either."""
    return [name for name in _replaced if name not in _used and not files(_OWN).joinpath(f"{name}.md").is_file()]


@cache
def load_prompt(name: str, *, package: str = _OWN) -> Prompt:
    """`<name>.md` in the folder of this package."""
    if name in _replaced:
        _used.add(name)
        return _replaced[name]
    return Prompt(files(package).joinpath(f"{name}.md").read_text("utf-8").strip(), name)
