"""Texts of workflows: within limits, with places for what is said about them."""

from typing import Any

from app.source_problems import WHOLE, Problem, problems_of
from app.source_tree import Limits, SourceInvalid, SourceTree
from app.workflows.language.problems import WorkflowInvalid
from app.yaml_source import read_yaml, text_of

LIMITS = Limits(size=1024 * 1024, depth=64)


def read_document(text: str | bytes, *, source: str) -> SourceTree:
    """Raises `WorkflowInvalid` for a text that is neither YAML nor JSON, or that holds what documents may not."""
    try:
        return read_yaml(text if isinstance(text, str) else text_of(text, LIMITS), LIMITS)
    except SourceInvalid as error:
        raise WorkflowInvalid(problems_of(error), source=source) from error


def mapping_of(tree: SourceTree, *, source: str) -> dict[str, Any]:
    """Raises `WorkflowInvalid` for a document that is no mapping."""
    if isinstance(tree.value, dict):
        return tree.value
    fix = "begin with `version: 1`, `name: …` and `steps:`"
    raise WorkflowInvalid([Problem(1, 1, WHOLE, "a workflow is a mapping of keys to values", fix)], source=source)
