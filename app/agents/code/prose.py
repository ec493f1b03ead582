"""What an answer says around its code: without links and images that the task does not name. Pure.

Code stays as it is. Where it begins and ends must be the same for every renderer, so a fence begins its line: one
inside a list ends for some of them where the list does. For the same reason no line of prose begins with a tag, behind
which some take a fence for markup.
"""

import re

from app.agents.code.contract import Finding
from app.agents.links import LinkFilter, addresses_in
from app.agents.markdown import change_prose

_BLOCK_OF_MARKUP = re.compile(r"^([ \t>*+\-0-9.)]*)<(?=[A-Za-z/!?])", re.MULTILINE)


class Prose:
    """Cleans the prose of one answer to a task."""

    def __init__(self, task: str) -> None:
        self._links = LinkFilter(addresses_in(task))

    def clean(self, answer: str) -> str:
        return change_prose(answer, self._clean)

    def clean_finding(self, finding: Finding) -> Finding:
        suggestion = finding.suggestion and self._links.clean(finding.suggestion)
        return finding.model_copy(update={"message": self._links.clean(finding.message), "suggestion": suggestion})

    @property
    def notes(self) -> list[str]:
        removed = self._links.removed
        return [f"Removed from the text: {removed} links or images that the task does not name."] if removed else []

    def _clean(self, text: str) -> str:
        return _BLOCK_OF_MARKUP.sub(r"\1&lt;", self._links.clean(text))
