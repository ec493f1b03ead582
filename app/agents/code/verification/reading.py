"""What may be read only in a process that may die of it, by the name of its grammar."""

from app.agents.code.verification import documents, grammars, sql
from app.agents.code.verification.verdicts import UNREADABLE, SyntaxProblem


def problem_in(source: str, grammar: str, dialect: str | None) -> SyntaxProblem | None:
    """The first syntax error. Raises `Unverifiable`, and `KeyError` for an unknown grammar."""
    try:
        match grammar:
            case "sql":
                return sql.problem_in(source, dialect)
            case "toml":
                return documents.toml_problem_in(source)
            case _:
                return grammars.problem_in(source, grammar)
    except (MemoryError, RecursionError, ValueError):
        return UNREADABLE
