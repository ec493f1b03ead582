"""The evaluation that a task asks for: checked when it is handed in, stored as text. Light: the API imports it."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.agents.schema_check import SchemaCheck, SchemaUnusable
from app.errors import Invalid
from app.governance.evaluation.models import EVALUATION
from app.setting_evaluation import CustomCheck, EvaluationRequest, JsonSchemaCheck

# In policies, whoever has none of their own.
ANY_AGENT = "*"


def check_evaluation(wanted: EvaluationRequest, evaluators: Sequence[str]) -> None:
    """Raises `Invalid` for a schema that is not one, and for an evaluator that is not installed."""
    for place, check in enumerate(wanted.checks):
        field = f"{EVALUATION}.checks.{place}"
        if isinstance(check, JsonSchemaCheck):
            try:
                SchemaCheck("the schema", check.json_schema)
            except SchemaUnusable as error:
                raise Invalid(f"{field}: {error}", field=f"{field}.schema") from error
        if isinstance(check, CustomCheck) and check.name not in evaluators:
            known = ", ".join(evaluators) or "none is installed"
            raise Invalid(f"{field}: there is no evaluator of this name ({known})", field=f"{field}.name")


def as_stored(wanted: EvaluationRequest | None) -> str | None:
    """As text: names in a schema may be ones that the store gives a meaning of their own."""
    return wanted.model_dump_json(by_alias=True, exclude_defaults=True) if wanted else None


def read_evaluation(task: Mapping[str, Any]) -> EvaluationRequest | None:
    stored = task.get(EVALUATION)
    return EvaluationRequest.model_validate_json(stored) if stored else None
