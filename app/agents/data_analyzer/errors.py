"""What is wrong with a table, told by place."""

from app.agents.contracts import AgentInputInvalid


class TableInvalid(AgentInputInvalid):
    """Its message names the line and the column, each counted from 1."""


def at(line: int, column: int | None, name: str | None, problem: str) -> TableInvalid:
    place = f"line {line}" if column is None else f"line {line}, column {column}"
    called = f" ({name[:40]})" if name else ""
    return TableInvalid(f"{place}{called}: {problem}", line=line, column=column)
