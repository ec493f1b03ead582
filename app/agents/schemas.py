"""What crosses the wire for agents. Field names are a contract: add, never rename or remove."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.agents.catalogue import ListedAgent
from app.agents.specs import CostClass
from app.llm.usage import ModelRole


class Agent(BaseModel):
    """Who can do a task."""

    name: str = Field(description="For `agent` of a task.", examples=["ContentAgent"])
    agent_type: str = Field(examples=["content"])
    description: str = Field(description="What the router knows of it.")
    version: str = Field(description="Changes when its answers may.", examples=["1.0.0"])
    examples: list[str] = Field(description="Tasks for it.")
    cost_class: CostClass = Field(
        description="What one task costs: nothing, a model call or two, several calls, or dozens."
    )
    routable: bool = Field(description="False when it does only tasks that name it.")
    model_role: ModelRole = Field(description="The role whose model it asks.")
    origin: str = Field(description="`built-in`, or name and version of the package that brings it.")
    tools: list[str] = Field(description="The only tools it may call here.")
    input_schema: dict[str, Any] | None = Field(description="JSON Schema of `input` of a task; null: it takes none.")
    output_schema: dict[str, Any] | None = Field(description="JSON Schema of `result.data`; null: it gives none.")


class AgentResponse(Agent):
    api_version: Literal["v1"] = "v1"


class AgentListResponse(BaseModel):
    items: list[Agent]
    api_version: Literal["v1"] = "v1"


def fields_of(agent: ListedAgent) -> dict[str, Any]:
    """The members of an `Agent`."""
    spec = agent.spec
    return {
        "name": spec.name,
        "agent_type": spec.agent_type,
        "description": spec.description,
        "version": spec.version,
        "examples": list(spec.examples),
        "cost_class": spec.cost_class,
        "routable": spec.routable,
        "model_role": spec.model_role,
        "origin": agent.origin,
        "tools": list(agent.tools),
        "input_schema": spec.input_model.model_json_schema() if spec.input_model else None,
        "output_schema": spec.output_model.model_json_schema() if spec.output_model else None,
    }
