"""Writes the package of a new agent: spec, contract, prompt, agent and tests, ready to install."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from app.agents.specs import BUILT_IN
from app.errors import Invalid

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+[0-9]*")


@dataclass(frozen=True, slots=True)
class NewAgent:
    """`words` are the name's words in lower case, without `agent`."""

    words: tuple[str, ...]

    @property
    def stem(self) -> str:
        return "".join(word.capitalize() for word in self.words)

    @property
    def class_name(self) -> str:
        return f"{self.stem}Agent"

    @property
    def agent_type(self) -> str:
        return "_".join(self.words)

    @property
    def package(self) -> str:
        return f"{self.agent_type}_agent"

    @property
    def distribution(self) -> str:
        return self.package.replace("_", "-")

    @property
    def values(self) -> dict[str, str]:
        """What the templates' placeholders stand for."""
        subject = " ".join(self.words)
        return {
            "stem": self.stem,
            "class_name": self.class_name,
            "type": self.agent_type,
            "package": self.package,
            "distribution": self.distribution,
            "subject": subject,
            "example": f"What should I know about {subject}?",
        }


def named(name: str) -> NewAgent:
    """`weather`, `weather-agent` and `WeatherAgent` are one. Raises `Invalid` for what is no name, or is taken."""
    words = tuple(word.lower() for part in re.split(r"[-_]", name) for word in _WORDS.findall(part))
    words = words[:-1] if words[-1:] == ("agent",) else words
    if not _NAME.fullmatch(name) or not words:
        raise Invalid(
            f"{name!r} is no name for an agent: use at most 40 letters, digits, `-` and `_`, as in weather-report"
        )
    agent = NewAgent(words)
    for spec in BUILT_IN:
        if agent.class_name == spec.name or agent.agent_type == spec.agent_type:
            raise Invalid(f"there is an agent {spec.name} of the type {spec.agent_type!r} already: choose another name")
    return agent


def write_package(agent: NewAgent, parent: Path) -> Path:
    """The new folder in ``parent``. Raises `Invalid` when there is one already, so that nothing is ever overwritten."""
    folder = parent / agent.distribution
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise Invalid(f"{folder} is there already: choose another name or --dir") from error
    for path, text in _files(agent):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def _files(agent: NewAgent) -> Iterator[tuple[str, str]]:
    source = f"src/{agent.package}"
    for template, path in (
        ("pyproject.toml", "pyproject.toml"),
        ("README.md", "README.md"),
        ("spec.py", f"{source}/spec.py"),
        ("contract.py", f"{source}/contract.py"),
        ("agent.py", f"{source}/agent.py"),
        ("prompt.md", f"{source}/prompts/{agent.agent_type}.md"),
        ("test_agent.py", "tests/test_agent.py"),
    ):
        text = files("app.cli.scaffold").joinpath("templates", f"{template}.txt").read_text("utf-8")
        yield path, Template(text).substitute(agent.values)
    yield f"{source}/__init__.py", ""
    yield f"{source}/prompts/__init__.py", ""
