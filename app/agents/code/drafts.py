"""An answer on its way: what a model said, what came of checking it, and why it has to be sent back."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.agents.base import OutputFile
from app.agents.code.assignment import Assignment
from app.agents.code.contract import Finding, Mode
from app.agents.code.files import main_file
from app.agents.code.verification.verdicts import Verdict

PLAIN_TEXT = "text"
_GIVE_ALL = "Give the whole answer again, with every file"


@dataclass(frozen=True, slots=True)
class Draft:
    """`problem` is what the model is told; `refusal` what everybody else is, without a word of the answer.

    A draft with a problem and no refusal is good enough when it cannot be mended; the `notes` then say what it lacks.
    """

    mode: Mode
    language: str
    text: str
    files: list[OutputFile]
    verdicts: list[Verdict]
    findings: list[Finding] | None = None
    problem: str | None = None
    refusal: str | None = None
    notes: list[str] | None = None
    rounds: int = 0


def drafted(
    text: str, files: list[OutputFile], verdicts: list[Verdict], assignment: Assignment, *, notes: Sequence[str] = ()
) -> Draft:
    """Judges an answer that holds code."""
    answered = main_file(files).language
    language = assignment.language or answered or assignment.hint or PLAIN_TEXT
    problem, refusal = _syntax(verdicts)
    if problem is None and not _is_in(files, assignment.language):
        problem = f"the answer has to be in {assignment.language}, and it is in {answered}"
        refusal = f"the model's answer {problem.removeprefix('the answer ')}" if assignment.is_strict else None
    said = [*notes, *(verdict.note for verdict in verdicts if verdict.note is not None)]
    said += [f"The task names {assignment.language}; the answer is in {answered}."] if problem and not refusal else []
    return Draft(assignment.mode, language, text, files, verdicts, problem=problem, refusal=refusal, notes=said)


def _syntax(verdicts: Sequence[Verdict]) -> tuple[str | None, str | None]:
    """The first file that its parser refuses, as told to the model and as told to others."""
    for number, verdict in enumerate(verdicts, start=1):
        if (found := verdict.problem) is not None:
            where = f"{found.place}: {found.message}"
            excerpt = f" in `{found.excerpt}`" if found.excerpt else ""
            problem = f"the {verdict.language} parser cannot read {verdict.path}, {where}{excerpt}. {_GIVE_ALL}"
            return problem, f"the model's answer is not valid {verdict.language}: file {number}, {where}"
    return None, None


def _is_in(files: Sequence[OutputFile], language: str | None) -> bool:
    """Whether a file is in the language, or in none that is known."""
    known = {file.language for file in files} - {None}
    return language is None or not known or language in known
