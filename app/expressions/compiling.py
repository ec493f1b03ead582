"""Expressions are CEL, compiled by the library, within limits that it does not keep itself."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from app.errors import Invalid
from app.expressions.cost import grows
from app.expressions.lexis import LONGEST_EXPRESSION
from app.expressions.references import Path, Reference, Wanted, path_of, references_of, wanted_by
from app.expressions.tree import Fold, Items, Node, nodes_of, read_tree

MOST_FOLDS = 4
_NO_NAMES: Mapping[str, str] = {}
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


def new_environment(variables: Mapping[str, cel.Type]) -> cel.Env:
    """With the extensions that every expression may use: texts, optionals and mathematics."""
    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_math.ExtMath()]
    return cel.NewEnv(variables=dict(variables), extensions=extensions)


def parse(environment: cel.Env, source: str, *, renamed: Mapping[str, str] = _NO_NAMES) -> Node:
    """The tree of an expression, whatever names it uses. Raises `ExpressionInvalid`."""
    return _tree(_compiled(environment, source, renamed, is_checked=False), renamed)


def compile_source(environment: cel.Env, source: str, *, renamed: Mapping[str, str] = _NO_NAMES) -> Compiled:
    """Raises `ExpressionInvalid`. ``renamed`` are names of the source, with those that people know instead."""
    program = _compiled(environment, source, renamed, is_checked=True)
    tree = _tree(program, renamed)
    _check_folds(tree)
    references = references_of(tree)
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


def _compiled(environment: cel.Env, source: str, renamed: Mapping[str, str], *, is_checked: bool) -> cel.Expression:
    if len(source) > LONGEST_EXPRESSION:
        raise ExpressionInvalid(f"it has {len(source)} characters, and {LONGEST_EXPRESSION} are allowed")
    if _UNREADABLE.search(source):
        raise ExpressionInvalid("it holds a character that cannot be in a text")
    try:
        return environment.compile(source, disable_check=not is_checked)
    except RuntimeError as error:
        raise _invalid(str(error), renamed) from error


def _invalid(told: str, renamed: Mapping[str, str]) -> ExpressionInvalid:
    if "recursion" in told:
        return ExpressionInvalid("it is nested too deeply, at most 32 levels; compute parts of it beforehand")
    found = _FAILURE.match(_STATUS.sub("", told))
    message = _STATUS.sub("", found[3]) if found else "it cannot be read"
    message = message.split(" expecting ")[0].replace(" (in container '')", "")
    for name, known in renamed.items():
        message = message.replace(name, known)
    return ExpressionInvalid(message.replace("<EOF>", "the end"), int(found[2] or 0) if found else 0)


def _tree(program: cel.Expression, renamed: Mapping[str, str]) -> Node:
    return read_tree(program.serialize(), renamed)


def _check_folds(tree: Node) -> None:
    folds = sum(isinstance(node, Fold) and bool(node.variable.strip("#")) for node in nodes_of(tree))
    if folds > MOST_FOLDS:
        raise ExpressionInvalid(
            f"it has {folds} of `map`, `filter`, `all` and their like, and {MOST_FOLDS} are allowed"
        )


def _ordered(tree: Node) -> Iterator[Path]:
    for node in nodes_of(tree):
        if isinstance(node, Fold) and isinstance(node.initial, Items):
            reference = path_of(node.range)
            if reference is not None:
                yield reference.path
