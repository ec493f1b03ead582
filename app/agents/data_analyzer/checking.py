"""`validate`: which rows break which rule."""

from collections.abc import Sequence

import polars as pl
from polars.exceptions import ComputeError

from app.agents.data_analyzer.contract import (
    LONGEST_SHOWN,
    DataInput,
    OneOfRule,
    PatternRule,
    RangeRule,
    RequiredRule,
    Rule,
    RuleOutcome,
    TypeRule,
    UniqueRule,
    Validation,
    Violation,
)
from app.agents.data_analyzer.errors import TableInvalid
from app.agents.data_analyzer.frame import Frame, as_numbers, readable_as

MOST_VIOLATIONS = 200


def validate(frame: Frame, given: DataInput) -> Validation:
    """The first `MOST_VIOLATIONS` in the order of the rules, then of the rows; the counts are of all."""
    outcomes, violations = list[RuleOutcome](), list[Violation]()
    for rule in given.rules:
        broken = _broken_by(frame, rule).fill_null(value=False).arg_true()
        outcomes.append(RuleOutcome(rule=rule.rule, columns=_columns_of(rule), violations=len(broken)))
        room = MOST_VIOLATIONS - len(violations)
        violations += [_violation(frame, rule, row) for row in broken.head(room).to_list()]
    total = sum(outcome.violations for outcome in outcomes)
    return Validation(
        operation="validate",
        table=frame.described,
        valid=total == 0,
        rules=outcomes,
        violations=violations,
        violations_total=total,
        formula_cells=frame.formula_cells(),
    )


def _columns_of(rule: Rule) -> list[str]:
    return rule.columns if isinstance(rule, UniqueRule) else [rule.column]


def _broken_by(frame: Frame, rule: Rule) -> pl.Series:
    raw = frame.get(_columns_of(rule)[0]).raw
    match rule:
        case RequiredRule():
            return raw.is_null()
        case TypeRule():
            return raw.is_not_null() & ~readable_as(raw, rule.type)
        case RangeRule():
            return _out_of_range(raw, rule)
        case PatternRule():
            return ~_matches(raw, rule.pattern)
        case OneOfRule():
            return ~raw.is_in(rule.values)
        case UniqueRule():
            return _repeated([frame.get(name).raw for name in rule.columns])


def _out_of_range(raw: pl.Series, rule: RangeRule) -> pl.Series:
    numbers = as_numbers(raw)
    broken = raw.is_not_null() & numbers.is_null()
    if rule.min is not None:
        broken = broken | (numbers < rule.min).fill_null(value=False)
    if rule.max is not None:
        broken = broken | (numbers > rule.max).fill_null(value=False)
    return broken


def _matches(raw: pl.Series, pattern: str) -> pl.Series:
    try:
        # By itself first: put between brackets, one with a bracket too many could mean something else.
        raw.head(0).str.contains(pattern, strict=True)
        # Rust's engine: linear in the text, and bounded in the size of what it compiles.
        return raw.str.contains(rf"\A(?:{pattern})\z", strict=True)
    except ComputeError as error:
        message = "write it without look-around and back-references, and with small repetitions"
        raise TableInvalid(f"the pattern {pattern[:60]!r} cannot be used: {message}") from error


def _repeated(columns: Sequence[pl.Series]) -> pl.Series:
    """Every row but the first of those that agree."""
    frame = pl.DataFrame([column.alias(str(number)) for number, column in enumerate(columns)])
    is_empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    return ~frame.select(pl.struct(pl.all()).is_first_distinct()).to_series() & ~is_empty


def _violation(frame: Frame, rule: Rule, row: int) -> Violation:
    names = _columns_of(rule)
    value = frame.get(names[0]).raw[row]
    return Violation(
        line=frame.lines[row],
        column=names[0],
        rule=rule.rule,
        value=None if value is None else str(value)[:LONGEST_SHOWN],
        message=_message(rule),
    )


def _message(rule: Rule) -> str:
    match rule:
        case RequiredRule():
            return "the cell is empty"
        case TypeRule():
            return f"it is not of type {rule.type}"
        case RangeRule():
            bounds = (("at least", rule.min), ("at most", rule.max))
            told = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
            return f"it is not a number of {told}"
        case PatternRule():
            return "it does not match the pattern"
        case OneOfRule():
            return "it is none of the allowed values"
        case UniqueRule():
            return f"an earlier row has the same {', '.join(rule.columns)}"[:200]
