"""The outcome of an analysis in words and tables of Markdown. Pure."""

from collections.abc import Iterable, Sequence

from app.agents.data_analyzer.contract import Grouping, Profile, Statistics, Validation

MOST_LINES = 50


def summary_of(outcome: Validation | Profile | Statistics | Grouping) -> str:
    rows, columns = outcome.table.rows, len(outcome.table.columns)
    table = f"The table has {rows} {'row' if rows == 1 else 'rows'} and {_counted(columns, 'column')}"
    match outcome:
        case Validation(valid=True):
            return f"{table}; it keeps all {_counted(len(outcome.rules), 'rule')}."
        case Validation():
            broken = sum(rule.violations > 0 for rule in outcome.rules)
            rules = f"{broken} of {_counted(len(outcome.rules), 'rule')}"
            return f"{table}; {_counted(outcome.violations_total, 'violation')} of {rules}."
        case Profile():
            empty = sum(column.nulls for column in outcome.columns)
            return f"{table}, {_counted(empty, 'empty cell')} and {_counted(outcome.duplicate_rows, 'duplicate row')}."
        case Statistics():
            return f"{table}; {_counted(len(outcome.columns), 'column')} of them with numbers."
        case Grouping():
            return f"{table}; {_counted(outcome.groups_total, 'group')} by {', '.join(outcome.by)[:80]}."


def notes_on(outcome: Validation | Profile | Statistics | Grouping) -> tuple[str, ...]:
    notes = []
    if isinstance(outcome, Validation | Profile) and outcome.formula_cells:
        cells = _counted(outcome.formula_cells, "cell")
        notes.append(f"{cells} would be a formula in a spreadsheet (`=`, `@`, `+` or `-` first); here it is text.")
    if isinstance(outcome, Validation) and outcome.violations_total > len(outcome.violations):
        notes.append(f"The first {len(outcome.violations)} of {outcome.violations_total} violations are listed.")
    if isinstance(outcome, Grouping) and outcome.groups_total > len(outcome.groups):
        notes.append(f"The first {len(outcome.groups)} of {outcome.groups_total} groups are listed.")
    return tuple(notes)


def report(outcome: Validation | Profile | Statistics | Grouping, charts: Sequence[str]) -> str:
    """The summary, the first `MOST_LINES` rows of what was found, and the names of the charts."""
    header, rows = _table_of(outcome)
    table = [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows[:MOST_LINES])]
    more = [f"… and {len(rows) - MOST_LINES} more"] if len(rows) > MOST_LINES else []
    drawn = [f"Charts: {', '.join(charts)}"] if charts else []
    return "\n\n".join([summary_of(outcome), *(["\n".join(table)] if rows else []), *more, *drawn])


def _table_of(outcome: Validation | Profile | Statistics | Grouping) -> tuple[list[str], Sequence[Sequence[object]]]:
    match outcome:
        case Validation():
            found = [[one.line, one.column, one.value, one.message] for one in outcome.violations]
            return ["line", "column", "value", "problem"], found
        case Profile():
            header = ["column", "type", "empty", "distinct", "min", "max"]
            columns = [[one.name, one.type, one.nulls, one.distinct, one.min, one.max] for one in outcome.columns]
            return header, columns
        case Statistics():
            header = ["column", "count", "sum", "mean", "std", "min", "median", "max"]
            return header, [
                [getattr(one, "name" if name == "column" else name) for name in header] for one in outcome.columns
            ]
        case Grouping():
            header = [*outcome.by, *outcome.aggregations]
            return header, [[*one.key, *one.values] for one in outcome.groups]


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    # One line, and nothing that Markdown or HTML would take for more than text.
    flat = " ".join(text.split())
    for mark in "\\|<`*_[":
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
