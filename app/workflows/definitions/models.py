"""A stored workflow: a name that stands for its current version, and versions that never change."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.errors import Conflict, NotFound

LONGEST_SUMMARY = 300


class WorkflowNotFound(NotFound):
    code = "WORKFLOW_NOT_FOUND"
    title = "Workflow not found"


class WorkflowChanged(Conflict):
    """If-Match names another version than the current one."""

    code = "WORKFLOW_CHANGED"
    status = 412
    title = "Workflow changed"


class SourceFormat(StrEnum):
    YAML = "yaml"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Pin:
    """A sub-workflow as a version calls it: ``reference`` is what its document says."""

    reference: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What one version is. ``document`` is what was read from the source, in the strict form."""

    name: str
    digest: str
    description: str
    source_format: SourceFormat
    source_text: str
    document: dict[str, Any]
    graph: dict[str, Any]
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    parts: tuple[Pin, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """A version in the list of a workflow's versions."""

    digest: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Version(Release):
    contents: Contents


@dataclass(frozen=True, slots=True)
class StoredWorkflow:
    """A name of one tenant; ``digest`` is its current version, ``summary`` the beginning of its description."""

    id: str
    name: str
    digest: str
    summary: str
    created_at: datetime
    updated_at: datetime
    updated_by: str
