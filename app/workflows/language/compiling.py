"""Expressions are CEL, compiled by the library, within limits that it does not keep itself."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from app.errors import Invalid
from app.workflows.language.cost import Extent, cost_of, grows
from app.workflows.language.lexis import QUOTED, WORD
from app.workflows.language.models import LONGEST_EXPRESSION
from app.workflows.language.references import Path, Reference, Wanted, path_of, references_of, wanted_by
from app.workflows.language.tree import Fold, Items, Node, nodes_of, read_tree

MOST_FOLDS = 4
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
_LOOP_WORD = re.compile(rf"{QUOTED}|\.\s*\??\s*{WORD}|(?P<name>{WORD})", re.VERBOSE)
_FAILURE = re.compile(r"(?:ERROR: <input>:(-?\d+):(-?\d+): )?([^\n]*)")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")


class ExpressionInvalid(Invalid):
    """``column`` counts characters of the expression from 1; 0 when no place is known."""

    code = "EXPRESSION_INVALID"
    title = "Expression invalid"

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(f"at character {column}: {message}" if column > 0 else message, column=column)


@dataclass(frozen=True, slots=True)
class Compiled:
    """``named`` is what the expression refers to when it is nothing but a reference; ``ordered`` is what lists are
    made of by `map` and `filter`; ``grows`` says that its cost depends on the values.
    """

    source: str
    program: cel.Expression
    tree: Node
    references: tuple[Reference, ...]
    wanted: Wanted
    named: Path | None
    ordered: tuple[Path, ...]
    grows: bool


def parse(source: str) -> Node:
    """The tree of an expression, whatever names it uses. Raises `ExpressionInvalid`."""
    return _tree(_compiled(_environment(frozenset()), source, is_checked=False))


def references_in(source: str) -> list[tuple[str | int, ...]]:
    """Paths such as `("steps", "a", "output", "x")`, in the order of the text. Raises `ExpressionInvalid`."""
    return [reference.path for reference in references_of(parse(source))]


def compile_expression(source: str, names: frozenset[str] = frozenset()) -> Compiled:
    """``names`` are variables beside the usual ones. Raises `ExpressionInvalid`."""
    program = _compiled(_environment(names), source, is_checked=True)
    tree = _tree(program)
    _check_folds(tree)
    references = references_of(tree)
    _check_steps(references)
    named = path_of(tree)
    return Compiled(
        source,
        program,
        tree,
        tuple(references),
        wanted_by(references),
        named.path if named is not None and not named.is_test else None,
        tuple(_ordered(tree)),
        grows(tree),
    )


def check_expression(source: str, names: frozenset[str] = frozenset()) -> Compiled:
    """As `compile_expression`, and refuses what is too costly with any values. Raises `ExpressionInvalid`."""
    compiled = compile_expression(source, names)
    size, work = cost_of(compiled.tree, lambda _: Extent())
    if size > LARGEST_BOUND or work > MOST_WORK:
        raise ExpressionInvalid("it makes too much; compute it in a step")
    return compiled


@functools.lru_cache(MOST_ENVIRONMENTS)
def _environment(names: frozenset[str]) -> cel.Env:
    variables = dict.fromkeys((*ROOTS, LOOP, "item", *names), cel.Type.DYN)
    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_math.ExtMath()]
    return cel.NewEnv(variables=variables, extensions=extensions)


def _compiled(environment: cel.Env, source: str, *, is_checked: bool) -> cel.Expression:
    if len(source) > LONGEST_EXPRESSION:
        raise ExpressionInvalid(f"it has {len(source)} characters, and {LONGEST_EXPRESSION} are allowed")
    if _UNREADABLE.search(source):
        raise ExpressionInvalid("it holds a character that cannot be in a text")
    try:
        return environment.compile(_with_loop(source), disable_check=not is_checked)
    except RuntimeError as error:
        raise _invalid(str(error)) from error


def _with_loop(source: str) -> str:
    return _LOOP_WORD.sub(lambda found: LOOP if found["name"] == "loop" else found[0], source)


def _invalid(told: str) -> ExpressionInvalid:
    if "recursion" in told:
        return ExpressionInvalid("it is nested too deeply, at most 32 levels; compute parts of it in `vars`")
    found = _FAILURE.match(_STATUS.sub("", told))
    message = _STATUS.sub("", found[3]) if found else "it cannot be read"
    message = message.split(" expecting ")[0].replace(" (in container '')", "").replace(LOOP, "loop")
    return ExpressionInvalid(message.replace("<EOF>", "the end"), int(found[2] or 0) if found else 0)


def _tree(program: cel.Expression) -> Node:
    return read_tree(program.serialize(), {LOOP: "loop"})


def _check_folds(tree: Node) -> None:
    folds = sum(isinstance(node, Fold) and bool(node.variable.strip("#")) for node in nodes_of(tree))
    if folds > MOST_FOLDS:
        raise ExpressionInvalid(
            f"it has {folds} of `map`, `filter`, `all` and their like, and {MOST_FOLDS} are allowed"
        )


def _check_steps(references: list[Reference]) -> None:
    for reference in references:
        if reference.path[0] == "steps" and (len(reference.path) == 1 or not isinstance(reference.path[1], str)):
            raise ExpressionInvalid("name the step, as in `steps.review.output`", reference.place + 1)


def _ordered(tree: Node) -> Iterator[Path]:
    for node in nodes_of(tree):
        if isinstance(node, Fold) and isinstance(node.initial, Items):
            reference = path_of(node.range)
            if reference is not None:
                yield reference.path
