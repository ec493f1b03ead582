"""JSON and TOML, read by the standard library."""

import json
import re
import tomllib

from app.agents.code.verification.verdicts import UNREADABLE, SyntaxProblem, excerpt_of

_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
# "Cannot declare ('a', 'b') twice" quotes the document.
_KEYS = re.compile(r" \('.*?'\)")


def json_problem_in(source: str) -> SyntaxProblem | None:
    try:
        json.loads(source)
    except json.JSONDecodeError as error:
        return SyntaxProblem(error.msg, error.lineno, error.colno, excerpt_of(source, error.lineno))
    except RecursionError:
        return UNREADABLE
    except ValueError:
        return SyntaxProblem("a number is too long to be read")
    return None


def toml_problem_in(source: str) -> SyntaxProblem | None:
    try:
        tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        return _toml_problem(str(error), source)
    except RecursionError:
        return UNREADABLE
    except ValueError:
        return SyntaxProblem("a value cannot be read")
    return None


def _toml_problem(message: str, source: str) -> SyntaxProblem:
    found, told = _PLACE.search(message), _KEYS.sub("", _PLACE.sub("", message))
    if found is None or found["line"] is None:
        return SyntaxProblem(told)
    line = int(found["line"])
    return SyntaxProblem(told, line, int(found["column"]), excerpt_of(source, line))
