"""The expressions of workflows: which names they know, and what they may cost."""

import functools
import re
from dataclasses import replace

from cel_expr_python import cel

from app.expressions import compiling
from app.expressions.compiling import Compiled, ExpressionInvalid, compile_source, new_environment
from app.expressions.cost import Extent, cost_of
from app.expressions.lexis import QUOTED, WORD
from app.expressions.references import Reference, references_of
from app.expressions.tree import Node

MOST_ENVIRONMENTS = 64
# Half a second and a hundred megabytes, at most.
MOST_WORK = 32 * 1024 * 1024
LARGEST_BOUND = 8 * 1024 * 1024

ROOTS = ("inputs", "steps", "vars", "run")
# Reserved words of CEL: none of them can be the name of a variable.
RESERVED = frozenset(
    {
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
        "_lp_",
    }
)
# `loop` is one of them. As long as the word itself, so that places in messages are right.
LOOP = "_lp_"
_RENAMED = {LOOP: "loop"}
_LOOP_WORD = re.compile(rf"{QUOTED}|\.\s*\??\s*{WORD}|(?P<name>{WORD})", re.VERBOSE)


def parse(source: str) -> Node:
    """The tree of an expression, whatever names it uses. Raises `ExpressionInvalid`."""
    return compiling.parse(_environment(frozenset()), _with_loop(source), renamed=_RENAMED)


def references_in(source: str) -> list[tuple[str | int, ...]]:
    """Paths such as `("steps", "a", "output", "x")`, in the order of the text. Raises `ExpressionInvalid`."""
    return [reference.path for reference in references_of(parse(source))]


def compile_expression(source: str, names: frozenset[str] = frozenset()) -> Compiled:
    """``names`` are variables beside the usual ones. Raises `ExpressionInvalid`."""
    compiled = compile_source(_environment(names), _with_loop(source), renamed=_RENAMED)
    _check_steps(compiled.references)
    return replace(compiled, source=source)


def check_expression(source: str, names: frozenset[str] = frozenset()) -> Compiled:
    """As `compile_expression`, and refuses what is too costly with any values. Raises `ExpressionInvalid`."""
    compiled = compile_expression(source, names)
    size, work = cost_of(compiled.tree, lambda _: Extent())
    if size > LARGEST_BOUND or work > MOST_WORK:
        raise ExpressionInvalid("it makes too much; compute it in a step")
    return compiled


@functools.lru_cache(MOST_ENVIRONMENTS)
def _environment(names: frozenset[str]) -> cel.Env:
    return new_environment(dict.fromkeys((*ROOTS, LOOP, "item", *names), cel.Type.DYN))


def _with_loop(source: str) -> str:
    return _LOOP_WORD.sub(lambda found: LOOP if found["name"] == "loop" else found[0], source)


def _check_steps(references: tuple[Reference, ...]) -> None:
    for reference in references:
        if reference.path[0] == "steps" and (len(reference.path) == 1 or not isinstance(reference.path[1], str)):
            raise ExpressionInvalid("name the step, as in `steps.review.output`", reference.place + 1)
