"""Validates, profiles, counts and groups a table, and draws it. Deterministic: no model is asked."""

import asyncio
import json
from collections.abc import Callable

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.data_analyzer.charts import MEDIA_TYPE, draw
from app.agents.data_analyzer.checking import validate
from app.agents.data_analyzer.contract import DataInput, DataOutput, Grouping, Profile, Statistics, Validation
from app.agents.data_analyzer.describing import group, profile, statistics
from app.agents.data_analyzer.frame import Frame, type_columns
from app.agents.data_analyzer.rows import read_table
from app.agents.data_analyzer.words import notes_on, report, summary_of

Outcome = Validation | Profile | Statistics | Grouping
_OPERATIONS: dict[str, Callable[[Frame, DataInput], Outcome]] = {
    "validate": validate,
    "profile": profile,
    "statistics": statistics,
    "group": group,
}


class DataAnalyzerAgent(BaseAgent):
    """The same table and the same operation give the same bytes."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        """Raises `TableInvalid`, or what putting a chart raises."""
        given = DataInput.model_validate_json(json.dumps(request.inputs))
        # Seconds of work for the largest tables, and nothing in it waits.
        outcome, charts = await asyncio.to_thread(_analyse, given)
        kept = [
            await tools.artifacts.put(f"chart-{number}.svg", svg, MEDIA_TYPE)
            for number, svg in enumerate(charts, start=1)
        ]
        return AgentOutput(
            summary=summary_of(outcome),
            raw_output=report(outcome, [one.name for one in kept]),
            data=DataOutput(outcome).as_json(),
            artifacts=tuple(kept),
            notes=notes_on(outcome),
        )


def _analyse(given: DataInput) -> tuple[Outcome, list[bytes]]:
    frame = type_columns(read_table(given))
    return _OPERATIONS[given.operation](frame, given), [draw(frame, chart) for chart in given.charts]
