"""`workflow-language.md` and `workflow.schema.json`: what a workflow document may say."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.cli.reference.markdown import GENERATED, code, page, table
from app.contracts import Contract
from app.durations import DURATION_PATTERN
from app.governance.approvals.terms import Escalation
from app.model_keys import schema_of
from app.workflows.language.json_schema import workflow_schema
from app.workflows.language.models import (
    ApprovalSpec,
    BudgetSpec,
    Case,
    Defaults,
    EvaluateSpec,
    ExhaustedOutput,
    Fallback,
    LoopSpec,
    RetrySpec,
    Step,
    WaitSpec,
    Workflow,
)
from app.workflows.language.short_form import ShortStep, ShortWorkflow

_PARTS: dict[str, type[BaseModel]] = {
    "The document": Workflow,
    "A step": Step,
    "`approval`": ApprovalSpec,
    "`escalation` of an approval": Escalation,
    "`evaluate`": EvaluateSpec,
    "`wait`": WaitSpec,
    "`loop`": LoopSpec,
    "`on_exhausted` of a loop": ExhaustedOutput,
    "A case of `switch`": Case,
    "`on_error` with a fallback": Fallback,
    "`retry`": RetrySpec,
    "`budget`": BudgetSpec,
    "`defaults`": Defaults,
    "A contract": Contract,
}
_SHORT: dict[str, type[BaseModel]] = {"A short document": ShortWorkflow, "A short step": ShortStep}


def workflow_language_page() -> str:
    lines = [
        GENERATED,
        "",
        "# Workflow language",
        "",
        "A document is YAML 1.2 or JSON. Editors check it by [its JSON Schema](workflow.schema.json).",
        "",
        "A duration is a text with units, as in `90s`, `10m`, `1h30m` or `250ms`. An expression is CEL. A value marked",
        "*any* may hold `${{ expression }}` in its texts. A contract says what a value looks like; see below.",
    ]
    for title, part in _PARTS.items():
        lines += ["", f"## {title}", "", part.__doc__ or "", "", *_fields(part)]
    lines += ["", "## The short form", "", *_STORY]
    for title, part in _SHORT.items():
        lines += ["", f"### {title}", "", part.__doc__ or "", "", *_fields(part)]
    return page(lines)


_STORY = (
    "Steps are a list, and values go through one shared context, which starts as the inputs of the run. It is",
    "translated when it is loaded, and shown translated. A mapping value, or a bare word on the right of a comparison,",
    "that names no key of the context is a text. A condition compares keys with `==`, `!=`, `<`, `<=`, `>`, `>=` or",
    "`in [a, b]`, joined by `and`, `or`, `not` and brackets.",
)


def workflow_schema_page() -> str:
    return json.dumps(workflow_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _fields(part: type[BaseModel]) -> list[str]:
    properties = schema_of(part).get("$defs", {}).get(part.__name__, schema_of(part))["properties"]
    rows = (_row(field.alias or name, field, properties) for name, field in part.model_fields.items())
    return table(("Key", "Type", "Default", "Meaning"), rows)


def _row(name: str, field: FieldInfo, properties: dict[str, Any]) -> tuple[str, str, str, str]:
    types = list(dict.fromkeys(_types(properties[name])))
    return code(name), " or ".join(types), _default(field, properties[name]), field.description or ""


def _types(schema: dict[str, Any]) -> Iterator[str]:
    if reference := schema.get("$ref"):
        yield _NAMES.get(reference.rpartition("/")[2], "mapping")
    elif variants := schema.get("anyOf") or schema.get("oneOf"):
        for variant in variants:
            yield from _types(variant)
    elif schema.get("type") != "null":
        yield _plain(schema)


def _plain(schema: dict[str, Any]) -> str:
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return " or ".join(code(str(value)) for value in values)
    if schema.get("pattern") == DURATION_PATTERN:
        return "duration"
    if schema.get("type") == "array":
        return f"list of {' or '.join(_types(schema.get('items', {})))}"
    return _NAMES.get(schema.get("type", "any"), "any")


_NAMES = {
    "string": "text",
    "object": "mapping",
    "integer": "whole number",
    "number": "number",
    "boolean": "boolean",
    "any": "any",
    "Contract": "contract",
    "ApprovalSpec": "approval",
    "EvaluateSpec": "evaluate",
    "WaitSpec": "wait",
    "LoopSpec": "loop",
    "RetrySpec": "retry",
    "BudgetSpec": "budget",
    "ShortStep": "step",
}


def _default(field: FieldInfo, schema: dict[str, Any]) -> str:
    if field.is_required():
        return "required"
    default = schema.get("default")
    return code(json.dumps(default).strip('"')) if default not in (None, "", {}, []) else ""
