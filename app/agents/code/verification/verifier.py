"""Whether files are written in the language they claim, without running any of them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from app.agents.base import OutputFile
from app.agents.code.verification import documents, python
from app.agents.code.verification.isolation import ParserHost, Reading, Source
from app.agents.code.verification.verdicts import SyntaxProblem, Unverifiable, Verdict

# As much as the parsers that run here read in a fifth of a second.
LARGEST = 100_000
# Handing over fewer to a thread takes longer than parsing them.
FEW = 4_000
_HERE: Mapping[str, tuple[str, Callable[[str], SyntaxProblem | None]]] = {
    "json": ("json", documents.json_problem_in),
    "python": (python.PARSER, python.problem_in),
}
_APART = {"sql": "sqlglot", "toml": "tomllib"}
TREE_SITTER = "tree-sitter"
_TREE_SITTER_READS = {
    "bash", "c", "cpp", "csharp", "css", "go", "html", "java", "javascript", "php", "ruby", "rust", "typescript",
}  # fmt: skip
_STYLE_DIALECTS = (".scss", ".sass", ".less")


class Verifier:
    """One per process: its parsers stay loaded."""

    def __init__(self) -> None:
        self._host = ParserHost()

    async def verify(self, files: Sequence[OutputFile], *, dialect: str | None = None) -> list[Verdict]:
        """One verdict per file, in order; `dialect` is that of SQL. Raises `RuntimeError` when no parser can start."""
        if sum(len(file.content) for file in files) < FEW and not any(map(_grammar_of, files)):
            return [_read_here(file) for file in files]
        return await asyncio.to_thread(self._verify, files, dialect)

    def _verify(self, files: Sequence[OutputFile], dialect: str | None) -> list[Verdict]:
        grammars = {file.path: grammar for file in files if (grammar := _grammar_of(file))}
        apart = [file for file in files if file.path in grammars]
        sources = [Source(grammars[file.path], file.content, dialect) for file in apart]
        readings = self._host.read(sources) if sources else []
        read = {file.path: reading for file, reading in zip(apart, readings, strict=True)}
        return [_read_apart(file, read[file.path]) if file.path in read else _read_here(file) for file in files]


def _read_apart(file: OutputFile, reading: Reading) -> Verdict:
    if isinstance(reading, Unverifiable):
        return _unverified(file, str(reading))
    return Verdict(file.path, file.language, reading is None, _APART.get(file.language or "", TREE_SITTER), reading)


def _read_here(file: OutputFile) -> Verdict:
    if len(file.content) > LARGEST:
        return _unverified(file, f"it has more than {LARGEST} characters")
    found = _HERE.get(file.language or "")
    if found is None:
        return _unverified(file, f"no parser here reads {file.language or 'a language that is not named'}")
    name, parse = found
    try:
        problem = parse(file.content)
    except Unverifiable as reason:
        return _unverified(file, str(reason))
    return Verdict(file.path, file.language, problem is None, name, problem)


def _grammar_of(file: OutputFile) -> str | None:
    """For what is read in a process of its own."""
    if len(file.content) > LARGEST:
        return None
    if file.language in _APART:
        return file.language
    if file.language not in _TREE_SITTER_READS or file.path.lower().endswith(_STYLE_DIALECTS):
        return None
    if file.language == "typescript" and file.path.lower().endswith(".tsx"):
        return "tsx"
    # Without an opening tag everything is text to the grammar for pages.
    if file.language == "php" and "<?" not in file.content:
        return "php_only"
    return file.language


def _unverified(file: OutputFile, why: str) -> Verdict:
    return Verdict(file.path, file.language, False, None, note=f"{file.path} was not verified: {why}.")
