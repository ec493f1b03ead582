"""What the DataAnalyzerAgent takes and what it gives. Light: the API process imports it."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

MOST_CHARTS = 5
MOST_RULES = 50
# A cell as a result shows it; a longer one is cut.
LONGEST_SHOWN = 80

ColumnName = Annotated[str, Field(min_length=1, max_length=128)]
Scalar = str | int | float | bool | None


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class ColumnType(StrEnum):
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    DATETIME = "datetime"
    TEXT = "text"


class Aggregate(StrEnum):
    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MEDIAN = "median"
    MIN = "min"
    MAX = "max"


class RequiredRule(Strict):
    """No cell of the column is empty."""

    rule: Literal["required"]
    column: ColumnName


class TypeRule(Strict):
    """Every cell of the column that is not empty can be read as this type."""

    rule: Literal["type"]
    column: ColumnName
    type: ColumnType


class RangeRule(Strict):
    """Every cell that is not empty is a number within the bounds, which belong to it."""

    rule: Literal["range"]
    column: ColumnName
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not exceed max")
        return self


class UniqueRule(Strict):
    """No two rows agree in all of these columns; rows in which all of them are empty do not count."""

    rule: Literal["unique"]
    columns: list[ColumnName] = Field(min_length=1, max_length=10)


class PatternRule(Strict):
    """Every cell that is not empty matches the regular expression as a whole (no look-around, no back-references)."""

    rule: Literal["pattern"]
    column: ColumnName
    pattern: str = Field(min_length=1, max_length=200)


class OneOfRule(Strict):
    """Every cell that is not empty is one of these texts."""

    rule: Literal["one_of"]
    column: ColumnName
    values: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=200)


Rule = Annotated[
    RequiredRule | TypeRule | RangeRule | UniqueRule | PatternRule | OneOfRule, Field(discriminator="rule")
]


class Aggregation(Strict):
    """``column`` may be left out for `count`, which then counts rows instead of cells that are not empty."""

    function: Aggregate
    column: ColumnName | None = None

    @model_validator(mode="after")
    def _has_a_column(self) -> Self:
        if self.column is None and self.function is not Aggregate.COUNT:
            raise ValueError(f"{self.function} needs a column")
        return self

    @property
    def name(self) -> str:
        return f"{self.function}({self.column or '*'})"


class Chart(Strict):
    """A bar or line chart of `y` by `x`, or a histogram of `x`. Rows with the same `x` are aggregated."""

    kind: Literal["bar", "line", "histogram"]
    x: ColumnName
    y: ColumnName | None = Field(None, description="A column of numbers; without it rows are counted.")
    aggregate: Aggregate = Aggregate.SUM
    bins: int = Field(10, ge=2, le=50, description="Intervals of a histogram.")
    title: str | None = Field(None, max_length=120)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "histogram" and self.y is not None:
            raise ValueError("a histogram has x only")
        return self


class DataInput(Strict):
    """One table and what to do with it."""

    operation: Literal["validate", "profile", "statistics", "group"] = "profile"
    csv: str | None = Field(None, description="CSV text with a header line.")
    delimiter: Literal[",", ";", "\t", "|"] | None = Field(None, description="Of the CSV; found out when missing.")
    rows: list[dict[ColumnName, Scalar]] | None = Field(None, description="The table as JSON objects.")
    json_lines: str | None = Field(None, description="The table as one JSON object per line.")
    rules: list[Rule] = Field([], max_length=MOST_RULES, description="For `validate`.")
    columns: list[ColumnName] | None = Field(
        None, min_length=1, max_length=200, description="For `profile` and `statistics`: only these."
    )
    by: list[ColumnName] = Field([], max_length=5, description="For `group`: the columns whose values make a group.")
    aggregations: list[Aggregation] = Field(
        [], max_length=20, description="For `group`; without any the rows are counted."
    )
    charts: list[Chart] = Field([], max_length=MOST_CHARTS)

    @model_validator(mode="after")
    def _has_one_table(self) -> Self:
        given = [name for name in ("csv", "rows", "json_lines") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"hand in one table as csv, rows or json_lines, not {' and '.join(given) or 'none'}")
        return self

    @model_validator(mode="after")
    def _has_what_its_operation_needs(self) -> Self:
        if self.operation == "validate" and not self.rules:
            raise ValueError("validate needs rules")
        if self.operation == "group" and not self.by:
            raise ValueError("group needs by: the columns whose values make a group")
        return self


class Table(BaseModel):
    """The table that was analysed."""

    rows: int
    columns: list[str]


class RuleOutcome(BaseModel):
    rule: str
    columns: list[str]
    violations: int


class Violation(BaseModel):
    """`line` is where the row begins in what was handed in, from 1; for `rows` it is the row's number."""

    line: int
    column: str
    rule: str
    value: str | None = Field(description=f"At most {LONGEST_SHOWN} characters of the cell.")
    message: str


class Validation(BaseModel):
    operation: Literal["validate"]
    table: Table
    valid: bool
    rules: list[RuleOutcome]
    violations: list[Violation]
    violations_total: int
    formula_cells: int


class Frequent(BaseModel):
    value: str
    count: int


class ColumnProfile(BaseModel):
    name: str
    type: ColumnType
    nulls: int
    distinct: int
    min: str | None
    max: str | None
    most_frequent: list[Frequent]


class Profile(BaseModel):
    operation: Literal["profile"]
    table: Table
    duplicate_rows: int
    formula_cells: int
    columns: list[ColumnProfile]


class ColumnStatistics(BaseModel):
    """`std` is that of a sample; quartiles are interpolated. Everything but the counts is null without a value."""

    name: str
    count: int
    nulls: int
    sum: float | None
    mean: float | None
    std: float | None
    min: float | None
    p25: float | None
    median: float | None
    p75: float | None
    max: float | None


class Statistics(BaseModel):
    operation: Literal["statistics"]
    table: Table
    columns: list[ColumnStatistics]
    skipped: list[str] = Field(description="Columns without numbers.")


class Group(BaseModel):
    key: list[str | None]
    count: int
    values: list[float | str | None]


class Grouping(BaseModel):
    operation: Literal["group"]
    table: Table
    by: list[str]
    aggregations: list[str]
    groups: list[Group]
    groups_total: int


class DataOutput(RootModel[Annotated[Validation | Profile | Statistics | Grouping, Field(discriminator="operation")]]):
    """The outcome of one operation; charts are artifacts."""

    def as_json(self) -> dict[str, Any]:
        dumped: dict[str, Any] = self.model_dump(mode="json")
        return dumped
