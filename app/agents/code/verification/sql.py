"""SQL, read by sqlglot in the dialect a task names, or else in any of the common ones."""

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError

from app.agents.code.verification.verdicts import UNREADABLE, SyntaxProblem, Unverifiable, excerpt_of

# None is sqlglot's own, a superset of most.
_COMMON = (None, "postgres", "mysql", "sqlite", "tsql", "oracle", "bigquery")
_PROCEDURAL = re.compile(
    r"\bDELIMITER\b|\bCREATE\s+(?:OR\s+\w+\s+)?(?:FUNCTION|PROCEDURE|TRIGGER|PACKAGE)\b|^\s*DO\s+\$|\bDECLARE\b",
    re.IGNORECASE | re.MULTILINE,
)
_ONLY_PARTLY_READ = SyntaxProblem("it has statements that cannot be verified here")
_CLASS = re.compile(r"<class '[\w.]*\.(\w+)'>")
# Other messages quote the source.
_SAYS_NOTHING_OF_IT = re.compile(
    r"Expecting [^\w\s]|Invalid expression / Unexpected token|Required keyword: '\w+' missing.*"
)


def problem_in(source: str, dialect: str | None) -> SyntaxProblem | None:
    """The first syntax error. Raises `Unverifiable` for what sqlglot only partly knows, such as procedural code."""
    problems = []
    for tried in (dialect,) if dialect else _COMMON:
        problem = _problem_in(source, tried)
        if problem is None:
            return None
        problems.append(problem)
    if _PROCEDURAL.search(source):
        raise Unverifiable("it has procedural SQL, which cannot be verified here")
    if _ONLY_PARTLY_READ in problems:
        raise Unverifiable(_ONLY_PARTLY_READ.message)
    return problems[0]


def _problem_in(source: str, dialect: str | None) -> SyntaxProblem | None:
    try:
        statements = sqlglot.parse(source, dialect=dialect)
    except ParseError as error:
        return _told(error, source)
    except TokenError:
        # Its message quotes the source.
        return SyntaxProblem("a quote, a comment or a word is not complete")
    except RecursionError:
        return UNREADABLE
    except (SqlglotError, ValueError):
        return SyntaxProblem("the source cannot be read as SQL")
    if not any(statements):
        return SyntaxProblem("there is no statement")
    if any(statement is not None and statement.find(exp.Command) for statement in statements):
        # What it does not know it takes as it is, from the first word to the semicolon.
        return _ONLY_PARTLY_READ
    if any(isinstance(statement, exp.Condition | exp.Alias) for statement in statements):
        # It reads "hello world" as a column with another name.
        return SyntaxProblem("an expression stands where a statement is expected")
    return None


def _told(error: ParseError, source: str) -> SyntaxProblem:
    first = error.errors[0] if error.errors else {}
    line, column = first.get("line"), first.get("col")
    said = _CLASS.sub(r"\1", str(first.get("description")))
    message = said if _SAYS_NOTHING_OF_IT.fullmatch(said) else "unexpected token"
    return SyntaxProblem(message, line, column, excerpt_of(source, line))
