"""The conditions of rules: CEL, typed by the table of facts, and bounded before anything is evaluated."""

import difflib
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cel_expr_python import cel

from app.expressions.compiling import ExpressionInvalid, compile_source, new_environment, parse
from app.expressions.cost import Extent, cost_of
from app.expressions.references import Path, Reference, references_of, shown
from app.governance.policy.facts import FACTS, LONGEST_LIST, Fact, FactType
from app.governance.policy.models import FactKind

# Bytes read and made: a few milliseconds, with the largest facts that there may be.
MOST_WORK = 8 * 1024 * 1024
MOST_WORK_TOGETHER = 256 * 1024 * 1024
_TYPES = {
    FactType.TEXT: cel.Type.STRING,
    FactType.INTEGER: cel.Type.INT,
    FactType.NUMBER: cel.Type.DOUBLE,
    FactType.BOOLEAN: cel.Type.BOOL,
    FactType.TEXTS: cel.Type.List(cel.Type.STRING),
    FactType.OBJECT: cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    FactType.TIME: cel.Type.TIMESTAMP,
}
_LONG = frozenset({FactType.TEXTS, FactType.OBJECT})


@dataclass(frozen=True, slots=True)
class Condition:
    """``names`` are the facts that it asks for; ``work`` is what it costs at most, in bytes read and made."""

    source: str
    program: cel.Expression
    names: frozenset[str]
    work: float


@dataclass(frozen=True, slots=True)
class ConditionProblem:
    message: str
    fix: str | None = None


def compile_condition(source: str, kind: FactKind) -> Condition | list[ConditionProblem]:
    """The condition, or everything that is wrong with it."""
    environment = environment_of(kind)
    try:
        references = references_of(parse(environment, source))
        if problems := list(_unknown(references, kind)):
            return problems
        compiled = compile_source(environment, source)
    except ExpressionInvalid as error:
        return [ConditionProblem(error.message, _fix(error.message))]
    if compiled.program.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        return [ConditionProblem("it does not give true or false", "compare it with something")]
    if unordered := [path for path in compiled.ordered if FACTS[str(path[0])].type is FactType.OBJECT]:
        # Members of objects come in any order, so the same facts could be decided about in two ways.
        message = f"`map` and `filter` of `{shown(unordered[0])}` may depend on an order that objects do not have"
        return [ConditionProblem(message, "use `exists`, `exists_one` or `all`")]
    size, work = cost_of(compiled.tree, _extent_of)
    if max(size, work) > MOST_WORK:
        fix = "look at less of it, for instance without `map`, `replace` or `+` on long texts"
        return [ConditionProblem("with the largest facts it would read or make too much", fix)]
    return Condition(source, compiled.program, frozenset(_fact_of(one.path) for one in references), work)


def compile_together(sources: Sequence[str], kind: FactKind) -> cel.Expression | None:
    """One program that gives the values of all; None when they cannot be one.

    Evaluating a hundred conditions one by one takes ten times as long.
    """
    # Each on lines of its own: a condition may end in a comment.
    items = ",".join(f"({source}\n)" for source in sources)
    try:
        return environment_of(kind).compile(f"[{items}]")
    except RuntimeError:
        return None


@functools.cache
def environment_of(kind: FactKind) -> cel.Env:
    # A name with a point in it is a variable of its own, so the library itself checks which facts there are.
    return new_environment({name: _TYPES[fact.type] for name, fact in FACTS.items() if kind in fact.kinds})


def _unknown(references: Iterable[Reference], kind: FactKind) -> Iterator[ConditionProblem]:
    for reference in references:
        name = _fact_of(reference.path)
        fact = FACTS.get(name)
        if fact is None:
            yield ConditionProblem(f"there is no fact `{name}`", _nearest(name))
        elif kind not in fact.kinds:
            others = ", ".join(sorted(fact.kinds))
            yield ConditionProblem(f"`{name}` is not known of a {kind}", f"let the rule apply to {others} only")
        elif reference.is_test and len(reference.path) == 2:
            fix = "ask `scores.available`" if name.startswith("scores.") else "leave the test out"
            yield ConditionProblem(f"`{name}` is no member that can be tested for", fix)


def _nearest(name: str) -> str:
    found = difflib.get_close_matches(name, FACTS, n=1, cutoff=0.6)
    return f"did you mean `{found[0]}`?" if found else f"there are {', '.join(FACTS)}"


def _fact_of(path: Path) -> str:
    return ".".join(str(part) for part in path[:2])


def _fix(message: str) -> str | None:
    if "no matching overload" not in message:
        return None
    if "double" in message and "int" in message:
        return "write numbers that are compared with a fraction with a point, as in 5.0"
    return "compare values of one type"


def _extent_of(path: Path) -> Extent:
    # A compiled condition names a fact as one part.
    fact = FACTS.get(str(path[0]))
    return Extent() if fact is None else _extent(fact)


def _extent(fact: Fact) -> Extent:
    return Extent(float(fact.largest), float(LONGEST_LIST if fact.type in _LONG else 0))
