"""What the CodeAgent takes and what it gives. Light: the API process imports it."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.agents.code.paths import MOST_FILES, check_path, check_together
from app.llm.languages import language_of_tag

LONGEST_FILE = 200_000
LONGEST_TOGETHER = 400_000
MOST_FINDINGS = 50


class Mode(StrEnum):
    """What is wanted of the code: new code (also fixed or converted), words about it, or tests of it."""

    GENERATE = "generate"
    EXPLAIN = "explain"
    REFACTOR = "refactor"
    REVIEW = "review"
    TEST = "test"


class Severity(StrEnum):
    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


def _canonical(language: str) -> str:
    return language_of_tag(language) or language.lower()


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class CodeFile(Strict):
    path: Annotated[str, AfterValidator(check_path)] = Field(examples=["src/app.py"])
    content: str = Field(min_length=1, max_length=LONGEST_FILE)


class CodeInputs(Strict):
    """All of it is optional; what is given counts more than what the task's words say."""

    mode: Mode | None = Field(None, description="What to do; by default what the task's words say, else generate.")
    language: Annotated[str, AfterValidator(_canonical)] | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9+#._-]{0,29}$", description="The language of the answer."
    )
    files: list[CodeFile] = Field([], max_length=MOST_FILES, description="The code to work on.")
    code: str | None = Field(
        None, min_length=1, max_length=LONGEST_FILE, description="The code to work on, when it is one piece."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_together(file.path for file in self.files)
        if len(self.code or "") + sum(len(file.content) for file in self.files) > LONGEST_TOGETHER:
            raise ValueError(f"code and files together have at most {LONGEST_TOGETHER} characters")
        return self


class Finding(BaseModel):
    """`file` is one of the files that were handed in, `line` counts from 1; null where they cannot be told."""

    model_config = ConfigDict(hide_input_in_errors=True)

    file: str | None = Field(description="Path of the file, exactly as it was given; null when there is none.")
    line: int | None = Field(description="Line in that file, from 1; null when it concerns no single line.")
    severity: Severity
    message: str = Field(description="What is wrong and what follows from it.")
    suggestion: str | None = Field(description="What to do instead; null when there is nothing to propose.")


class VerifiedFile(BaseModel):
    """`ok` says that `parser` read the whole file; without a parser nothing was verified."""

    path: str
    language: str | None
    ok: bool
    parser: str | None


class CodeData(BaseModel):
    """`findings` are null in every mode but review."""

    mode: Mode
    language: str
    verified: list[VerifiedFile]
    findings: list[Finding] | None = Field(None, max_length=MOST_FINDINGS)
    repair_rounds: int = Field(description="How often the answer was sent back because it was not valid.")
