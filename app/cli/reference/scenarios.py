"""`scenarios.md`: what the simulator can play, and what a scenario of one's own may say."""

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.cli.reference.markdown import GENERATED, code, page, table
from app.llm.simulator.chance import Constant, Lognormal, Uniform
from app.llm.simulator.faults import Behaviour
from app.llm.simulator.scenario import Burst, Effect, Match, Rule, Scenario
from app.llm.simulator.scenario_files import FOLDER, built_in_scenarios

_PARTS: dict[str, type[BaseModel]] = {
    "The scenario": Scenario,
    "A rule": Rule,
    "`match`": Match,
    "`burst`": Burst,
    "`then`": Effect,
}
_LATENCIES: tuple[type[BaseModel], ...] = (Constant, Uniform, Lognormal)
_ANSWERS = {
    Behaviour.HANG: "Nothing for ten minutes.",
    Behaviour.STALL: "A part of it; then the connection stays open in silence.",
    Behaviour.DROP: "A part of it; then the connection ends.",
    Behaviour.DRIP: "Byte by byte, or piece by piece of a stream, ten a second.",
    Behaviour.MALFORMED: "Half a body, which is no JSON.",
    Behaviour.GARBLED: "JSON cut in half that says it is whole; a text that is not what was asked for.",
    Behaviour.EMPTY: "An empty text; of a search, no results.",
    Behaviour.NO_CHOICES: "No choices.",
    Behaviour.REFUSE: "A refusal.",
    Behaviour.LENGTH: 'Half of it, with finish_reason "length".',
    Behaviour.SCHEMA: "JSON of another shape; a text that is not what was asked for.",
}


def scenarios_page() -> str:
    lines = [GENERATED, "", "# Scenarios", ""]
    lines += ["How to use them: [simulate a bad day](../how-to/simulate-a-bad-day.md).", "", "## Fields"]
    for title, part in _PARTS.items():
        lines += ["", f"### {title}", "", _told(part), "", *_fields(part)]
    lines += ["", "### `latency`", "", *table(("Distribution", "Fields", "Meaning"), map(_latency, _LATENCIES))]
    lines += ["", "### `answer`", "", *table(("Answer", "What comes"), ((code(a), _ANSWERS[a]) for a in Behaviour))]
    lines += ["", "## Built-in scenarios"]
    for scenario in built_in_scenarios():
        lines += ["", f"### {code(scenario.name)}", "", scenario.description, "", *_source(scenario.name)]
    return page(lines)


def _told(part: type[BaseModel]) -> str:
    return (part.__doc__ or "").replace("``", "`")


def _fields(part: type[BaseModel]) -> list[str]:
    rows = ((code(name), _default(field), field.description or "") for name, field in part.model_fields.items())
    return table(("Field", "Default", "Meaning"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return code(str(field.default)) if isinstance(field.default, int | float) else ""


def _latency(distribution: type[BaseModel]) -> tuple[str, str, str]:
    fields = [name for name in distribution.model_fields if name != "distribution"]
    return code(distribution.__name__.lower()), ", ".join(map(code, fields)), _told(distribution)


def _source(name: str) -> list[str]:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return ["```yaml", *text.splitlines(), "```"]
