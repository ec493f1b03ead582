"""JSON Schema of the language, for editors."""

from typing import Any

from app.model_keys import schema_of
from app.workflows.language.models import Workflow

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def workflow_schema() -> dict[str, Any]:
    """Of a document in the strict form. What parts mean together is not in it: `orchestrate validate` knows."""
    return {"$schema": DIALECT, **_closed(schema_of(Workflow))}


def _closed(schema: Any) -> Any:
    """With every name that a document gives held to its pattern; Pydantic lets others through."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    return {**closed, "additionalProperties": False} if "patternProperties" in schema else closed
