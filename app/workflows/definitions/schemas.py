"""What crosses the wire for workflows. Field names are a contract: add, never rename or remove."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp
from app.workflows.definitions.models import SourceFormat

EXAMPLE_DIGEST = "sha256:3f1c0f9e2b7a4d58863e1a7c9d0b4e62f5a81d3c7e9b2046a1c8d5f7e3b09a4d"


class WorkflowItem(BaseModel):
    """A workflow by its current version."""

    workflow_id: str
    name: str = Field(examples=["content-analysis"])
    digest: str = Field(description="Of its current version.", examples=[EXAMPLE_DIGEST])
    summary: str = Field(description="The beginning of its description.")
    created_at: Timestamp
    updated_at: Timestamp = Field(description="When the current version became that.")
    updated_by: str = Field(description="Id of the key that did it.")


class WorkflowListResponse(BaseModel):
    items: list[WorkflowItem]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class WorkflowVersion(BaseModel):
    digest: str = Field(examples=[EXAMPLE_DIGEST])
    created_at: Timestamp
    created_by: str = Field(description="Id of the key that stored it first.")
    current: bool


class WorkflowVersionsResponse(BaseModel):
    items: list[WorkflowVersion]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class GraphNode(BaseModel):
    """A step."""

    id: str = Field(examples=["review.fix"])
    path: str = Field(description="That of its instances in an execution, but for the numbers of items and rounds.")
    name: str
    kind: str = Field(examples=["agent"])
    target: str | None = Field(description="The agent, workflow or event it is about.")
    description: str
    parent: str | None = Field(description="Id of the step that it is inside of.")
    case: str | None = Field(description="Of which case of a `switch`; `else` too.")
    repeats: bool = Field(description="It has `for_each` or is a loop.")
    conditional: bool = Field(description="It has `if`.")
    ending: bool = Field(description="It belongs to `finally`.")


class GraphEdge(BaseModel):
    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: str = Field(alias="from", description="Id of the step that is needed.")
    to: str = Field(description="Id of the step that needs it.")


class Graph(BaseModel):
    nodes: list[GraphNode]
    edges: list[GraphEdge]


class Part(BaseModel):
    """A sub-workflow; a newer version of it changes nothing here."""

    reference: str = Field(description="What the document calls it by.")
    name: str
    digest: str = Field(examples=[EXAMPLE_DIGEST])


class WorkflowResponse(BaseModel):
    """One version of a workflow."""

    workflow_id: str | None = Field(
        description="Null only where a version is stored with `current=false` and no workflow has its name."
    )
    name: str = Field(examples=["content-analysis"])
    digest: str = Field(description="Over the document and those of its sub-workflows.", examples=[EXAMPLE_DIGEST])
    current: bool = Field(description="Whether it is what the name stands for now.")
    description: str
    created_at: Timestamp = Field(description="When this version was stored first.")
    created_by: str = Field(description="Id of the key that stored it first.")
    document: dict[str, Any] = Field(description="In the strict form, whichever form it was written in.")
    source_text: str = Field(description="As it was sent first.")
    source_format: SourceFormat
    graph: Graph
    inputs: dict[str, Any] = Field(description="JSON Schema of what an execution takes.")
    outputs: dict[str, Any] = Field(description="JSON Schema of what it gives.")
    parts: list[Part]
    versions: list[WorkflowVersion] = Field(description="The newest versions, at most 20, newest first.")
    api_version: Literal["v1"] = "v1"


class WorkflowProblem(BaseModel):
    line: int = Field(description="From 1.")
    column: int = Field(description="From 1.")
    path: str = Field(examples=["steps.review.with.text"])
    message: str
    fix: str | None
    source: str = Field(description="The sub-workflow that it is in; empty for the document itself.")


class ValidationResponse(BaseModel):
    """A document that is not valid is an answer too, no error."""

    valid: bool
    name: str | None = Field(description="Null when it is not valid, as the digest.")
    digest: str | None = Field(examples=[EXAMPLE_DIGEST])
    problems: list[WorkflowProblem] = Field(description="By place, at most 100.")
    api_version: Literal["v1"] = "v1"
