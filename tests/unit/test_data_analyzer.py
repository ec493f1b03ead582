import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from xml.etree import ElementTree

import pytest

from app.agents.base import AgentOutput, OutputArtifact
from app.agents.contracts import check_inputs, check_output
from app.agents.data_analyzer.agent import DataAnalyzerAgent
from app.agents.data_analyzer.errors import TableInvalid
from app.agents.registry import Registry
from app.artifacts.store import ArtifactStoreUnavailable
from tests.fakes.agents import SteadyChat, a_request, tools_with

ORDERS = """order,region,amount,day
1,north,10,2026-01-01
2,south,5.5,2026-01-02
3,north,,2026-01-02
3,south,-2,2026-01-04
"""
SPEC = Registry().get_agent("DataAnalyzerAgent")


@dataclass
class Kept:
    """Keeps what is put, or says that it cannot."""

    fails: bool = False
    blobs: dict[str, bytes] = field(default_factory=dict)

    async def put(self, name: str, data: bytes, media_type: str) -> OutputArtifact:
        if self.fails:
            raise ArtifactStoreUnavailable("away")
        self.blobs[name] = data
        return OutputArtifact(name, media_type, "0" * 64, len(data))


async def analysed(kept: Kept | None = None, **inputs: Any) -> AgentOutput:
    given = {"csv": ORDERS, **inputs}
    given = {name: value for name, value in given.items() if value is not None}
    check_inputs(SPEC, given)
    tools = replace(tools_with(SteadyChat(AssertionError("no model is asked"))), artifacts=kept or Kept())
    output = await DataAnalyzerAgent().run(replace(a_request("Analyse it."), inputs=given), tools)
    check_output(SPEC, output)
    return output


async def broken_by(*rules: dict[str, Any], **inputs: Any) -> list[tuple[int, str, str]]:
    data = (await analysed(operation="validate", rules=list(rules), **inputs)).data
    assert data is not None
    assert data["valid"] == (not data["violations"])
    return [(one["line"], one["column"], one["rule"]) for one in data["violations"]]


async def test_each_rule_finds_the_rows_that_break_it() -> None:
    assert await broken_by({"rule": "required", "column": "amount"}) == [(4, "amount", "required")]
    assert await broken_by({"rule": "type", "column": "amount", "type": "integer"}) == [(3, "amount", "type")]
    assert await broken_by({"rule": "range", "column": "amount", "min": 0, "max": 9}) == [
        (2, "amount", "range"),
        (5, "amount", "range"),
    ]
    assert await broken_by({"rule": "unique", "columns": ["order"]}) == [(5, "order", "unique")]
    assert await broken_by({"rule": "unique", "columns": ["order", "region"]}) == []
    assert await broken_by({"rule": "pattern", "column": "region", "pattern": "nor"}) == [
        (line, "region", "pattern") for line in (2, 3, 4, 5)
    ]
    assert await broken_by({"rule": "pattern", "column": "region", "pattern": "n.*|south"}) == []
    assert await broken_by({"rule": "one_of", "column": "region", "values": ["north"]}) == [
        (3, "region", "one_of"),
        (5, "region", "one_of"),
    ]


async def test_a_row_that_spans_lines_is_named_by_its_first() -> None:
    text = 'name,n\n"a\nb",1\n"c\nd",\n'

    assert await broken_by({"rule": "required", "column": "n"}, csv=text) == [(4, "n", "required")]


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(", "a)|(b", "(a{1000}){1000}"])
async def test_a_pattern_that_the_engine_does_not_have_is_refused(pattern: str) -> None:
    with pytest.raises(TableInvalid, match="cannot be used: write it without look-around"):
        await broken_by({"rule": "pattern", "column": "region", "pattern": pattern})


async def test_a_pattern_that_keeps_other_engines_busy_for_ever_costs_nothing() -> None:
    table = "a\n" + "a" * 5000 + "!\n"
    begun = time.perf_counter()

    assert await broken_by({"rule": "pattern", "column": "a", "pattern": "(a+)+"}, csv=table) == [(2, "a", "pattern")]
    assert time.perf_counter() - begun < 5


async def test_of_many_violations_the_first_are_listed_and_all_are_counted() -> None:
    output = await analysed(
        csv="a\n" + "x\n" * 1000, operation="validate", rules=[{"rule": "type", "column": "a", "type": "number"}]
    )

    assert output.data is not None
    assert (len(output.data["violations"]), output.data["violations_total"]) == (200, 1000)
    assert output.notes == ("The first 200 of 1000 violations are listed.",)


async def test_a_profile_tells_what_is_in_each_column() -> None:
    output = await analysed(csv="a,b\nx,=1+1\nx,=1+1\n,@cmd\n", operation="profile")

    assert output.data is not None
    assert output.data["duplicate_rows"] == 1
    assert output.data["columns"][0] == {
        "name": "a",
        "type": "text",
        "nulls": 1,
        "distinct": 1,
        "min": "x",
        "max": "x",
        "most_frequent": [{"value": "x", "count": 2}],
    }
    assert output.summary == "The table has 3 rows and 2 columns, 1 empty cell and 1 duplicate row."
    assert output.notes == (
        "3 cells would be a formula in a spreadsheet (`=`, `@`, `+` or `-` first); here it is text.",
    )


async def test_statistics_are_those_of_the_numbers_in_a_column() -> None:
    output = await analysed(csv="n,t\n1,a\n2,b\n3,c\n4,d\n,e\n", operation="statistics")

    assert output.data is not None
    assert output.data["columns"] == [
        {
            "name": "n",
            "count": 4,
            "nulls": 1,
            "sum": 10,
            "mean": 2.5,
            "std": 1.290994449,
            "min": 1,
            "p25": 1.75,
            "median": 2.5,
            "p75": 3.25,
            "max": 4,
        }
    ]
    assert output.data["skipped"] == ["t"]


async def test_groups_come_in_the_order_of_their_first_rows() -> None:
    output = await analysed(
        operation="group",
        by=["region"],
        aggregations=[
            {"function": "sum", "column": "amount"},
            {"function": "mean", "column": "amount"},
            {"function": "count", "column": "amount"},
            {"function": "max", "column": "day"},
            {"function": "count"},
        ],
    )

    assert output.data is not None
    assert output.data["groups"] == [
        {"key": ["north"], "count": 2, "values": [10, 10, 1, "2026-01-02", 2]},
        {"key": ["south"], "count": 2, "values": [3.5, 1.75, 2, "2026-01-04", 2]},
    ]
    assert "| north | 10 | 10 | 1 | 2026-01-02 | 2 |" in output.raw_output


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"operation": "statistics", "columns": ["region"]}, "column 'region' has to hold numbers: line 2 has none"),
        ({"operation": "profile", "columns": ["x"]}, "no column 'x'; it has order, region, amount, day"),
        ({"operation": "group", "by": ["x"]}, "no column 'x'"),
        ({"charts": [{"kind": "bar", "x": "region", "y": "day"}]}, "column 'day' has to hold numbers"),
        ({"csv": "a,b\n,1\n", "charts": [{"kind": "bar", "x": "a"}]}, "nothing to show"),
        (
            {"csv": "a\n" + "".join(f"{n}\n" for n in range(61)), "charts": [{"kind": "bar", "x": "a"}]},
            "61 values of x; a bar takes 60",
        ),
    ],
    ids=["text", "profile", "group", "chart", "empty chart", "too many bars"],
)
async def test_what_the_table_cannot_give_is_told(inputs: dict[str, Any], told: str) -> None:
    with pytest.raises(TableInvalid, match=told):
        await analysed(**inputs)


CHARTS = [
    {"kind": "bar", "x": "region", "y": "amount", "title": "<script>alert(1)</script> & \x1b more"},
    {"kind": "line", "x": "day", "y": "amount", "aggregate": "mean"},
    {"kind": "histogram", "x": "amount", "bins": 3},
    {"kind": "bar", "x": "region"},
]


async def test_charts_are_well_formed_and_refer_to_nothing_outside_themselves() -> None:
    kept = Kept()

    output = await analysed(kept, charts=CHARTS)

    assert [one.name for one in output.artifacts] == [f"chart-{number}.svg" for number in range(1, 5)]
    for svg in kept.blobs.values():
        # Written by the agent a moment ago.
        elements = list(ElementTree.fromstring(svg).iter())  # noqa: S314
        names = {element.tag.rpartition("}")[2] for element in elements}
        assert not names & {"script", "foreignObject", "image", "use", "a", "iframe"}
        attributes = [name.lower() for element in elements for name in element.attrib]
        assert not [name for name in attributes if "href" in name or name.startswith("on")]
        text = svg.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]|url\(|@import|<\?xml-stylesheet|<!--", text)


async def test_the_same_table_gives_the_same_bytes() -> None:
    first, second = Kept(), Kept()

    outputs = [await analysed(kept, charts=CHARTS) for kept in (first, second)]

    assert outputs[0] == outputs[1]
    assert first.blobs == second.blobs


async def test_the_bars_of_a_histogram_hold_every_number_once() -> None:
    kept = Kept()

    await analysed(kept, csv="n\n0\n1\n2\n3\n10\n-1e308\n1e308\n", charts=[{"kind": "histogram", "x": "n", "bins": 2}])

    values = re.findall(r'class="value"[^>]*>([^<]+)<', kept.blobs["chart-1.svg"].decode())
    assert sorted(values) == ["1", "6"]


async def test_a_chart_that_cannot_be_kept_fails_the_run() -> None:
    with pytest.raises(ArtifactStoreUnavailable):
        await analysed(Kept(fails=True), charts=CHARTS)


async def test_cells_cannot_break_out_of_the_report() -> None:
    output = await analysed(csv='a\n"x|y\n<b>[z](u)`"\n', operation="group", by=["a"])

    assert "| x\\|y \\<b>\\[z](u)\\` | 1 |" in output.raw_output


async def test_a_table_of_json_and_one_of_csv_give_the_same() -> None:
    header, *lines = ORDERS.strip().split("\n")
    rows: Sequence[dict[str, Any]] = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    typed = [
        {**row, "order": int(row["order"]), "amount": float(row["amount"]) if row["amount"] else None} for row in rows
    ]
    text = "\n".join(json.dumps(row) for row in typed)

    outputs = [
        await analysed(operation="statistics", columns=["amount"], csv=None, **given)
        for given in ({"rows": typed}, {"json_lines": text}, {"csv": ORDERS})
        if given.get("csv") is None
    ]

    assert outputs[0] == outputs[1] == await analysed(operation="statistics", columns=["amount"])
