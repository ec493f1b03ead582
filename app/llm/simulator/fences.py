"""Fenced code in a prompt."""

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^(?P<mark>`{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)\n(?P=mark)$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"\bpath=(\S+)")


@dataclass(frozen=True, slots=True)
class Fenced:
    mark: str
    info: str
    body: str

    @property
    def path(self) -> str | None:
        found = _PATH.search(self.info)
        return found[1] if found else None

    def written(self, *, body: str) -> str:
        """The same block with another body."""
        return f"{self.mark}{self.info}\n{body}\n{self.mark}"


def fences_in(text: str) -> list[Fenced]:
    return [Fenced(found["mark"], found["info"].strip(), found["body"]) for found in _FENCE.finditer(text)]
