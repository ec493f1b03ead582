"""Python, read by this interpreter's own parser. Nothing is compiled or run."""

import ast
import re
import sys
import warnings

from app.agents.code.verification.verdicts import UNREADABLE, SyntaxProblem, Unverifiable, excerpt_of

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PARSER = f"ast (Python {VERSION})"
_FILE = "<answer of a model>"
# Syntax that an older interpreter takes for a mistake, by the version that brought it.
_NEWER = (
    ((3, 12), re.compile(r"\s*(?:type\s+\w+\s*[\[=]|(?:async\s+)?(?:def|class)\s+\w+\s*\[)")),
    ((3, 14), re.compile(r"\s*except\*?\s+[\w.]+\s*,|.*(?<!\w)t[\"']")),
)


def problem_in(source: str) -> SyntaxProblem | None:
    """The first syntax error. Raises `Unverifiable` for what a newer version would understand."""
    # The parser warns of such things as "\d". By the name of the file, because changing the filters for a while would
    # change them for every thread.
    warnings.filterwarnings("ignore", module=re.escape(_FILE))
    try:
        ast.parse(source, _FILE)
    except SyntaxError as error:
        line = excerpt_of(source, error.lineno)
        _raise_if_newer(line)
        return SyntaxProblem(_told(error), error.lineno, error.offset or None, line)
    except (RecursionError, MemoryError):
        return UNREADABLE
    except ValueError:
        return SyntaxProblem("the source has characters that no program has")
    return None


def _told(error: SyntaxError) -> str:
    return f"{error.msg.removesuffix('.')} (read as Python {VERSION})"


def _raise_if_newer(line: str) -> None:
    for version, syntax in _NEWER:
        if version > sys.version_info and syntax.match(line):
            named = ".".join(map(str, version))
            raise Unverifiable(f"it uses syntax of Python {named}, and only that of {VERSION} can be verified here")
