"""Findings about code: what a model may say of it, what is checked, and how it reads."""

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from app.agents.base import OutputFile
from app.agents.code.contract import MOST_FINDINGS, Finding, Severity
from app.agents.code.verification.verdicts import Verdict

_WORST_FIRST = list(reversed(Severity))
_NOTHING = "No problems were found."


class CodeReview(BaseModel):
    """A review of the code in the conversation."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    summary: str = Field(min_length=1, max_length=2000, description="One or two sentences for the author.")
    findings: list[Finding] = Field(max_length=MOST_FINDINGS)


def problem_of(review: CodeReview, material: Sequence[OutputFile]) -> str | None:
    """Why the review cannot be of this code: it names a file or a line that there is not. Quotes nothing of it."""
    lengths = {file.path: _length(file) for file in material}
    for number, finding in enumerate(review.findings, start=1):
        if finding.file is not None and lengths and finding.file not in lengths:
            return f"finding {number} is about a file that was not given"
        longest = lengths.get(finding.file or "", max(lengths.values(), default=None))
        if finding.line is not None and not 1 <= finding.line <= (longest or finding.line):
            return f"finding {number} is about line {finding.line}, and there are lines 1 to {longest}"
    return None


def syntax_findings(verdicts: Iterable[Verdict]) -> list[Finding]:
    """What the parsers found, which a model may have overlooked."""
    return [
        Finding(
            file=verdict.path,
            line=verdict.problem.line,
            severity=Severity.HIGH,
            message=f"The {verdict.language} parser cannot read this: {verdict.problem.message}.",
            suggestion=None,
        )
        for verdict in verdicts
        if verdict.problem is not None
    ]


def together(found: Sequence[Finding], reviewed: Sequence[Finding]) -> list[Finding]:
    """The worst first, at most as many as are kept; a line that a parser refuses is reported once."""
    lines = {(finding.file, finding.line) for finding in found}
    more = [finding for finding in reviewed if (finding.file, finding.line) not in lines]
    return sorted([*found, *more], key=lambda finding: _WORST_FIRST.index(finding.severity))[:MOST_FINDINGS]


def rendered(summary: str, findings: Sequence[Finding]) -> str:
    """As Markdown."""
    return "\n\n".join([summary.strip(), "\n".join(map(_line, findings)) or _NOTHING])


def _line(finding: Finding) -> str:
    spots = [finding.file and f"`{finding.file}`", finding.line and f"line {finding.line}"]
    place = f" {', '.join(spot for spot in spots if spot)}" if any(spots) else ""
    suggestion = f" _{' '.join(finding.suggestion.split())}_" if finding.suggestion else ""
    return f"- **{finding.severity}**{place}: {' '.join(finding.message.split())}{suggestion}"


def _length(file: OutputFile) -> int:
    return len(file.content.rstrip("\n").split("\n"))
