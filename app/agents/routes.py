"""The HTTP routes of agents. They are the deployment's, so every tenant sees the same."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from app.agents.catalogue import Catalogue
from app.agents.schemas import Agent, AgentListResponse, AgentResponse, fields_of
from app.http.openapi import responses

router = APIRouter(prefix="/v1/agents", tags=["Agents"])


async def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.agents
    return catalogue


CatalogueOfRequest = Annotated[Catalogue, Depends(_catalogue)]


@router.get("", responses=responses())
async def list_agents(catalogue: CatalogueOfRequest) -> AgentListResponse:
    """Every agent of this deployment, those of installed packages included."""
    return AgentListResponse(items=[Agent(**fields_of(agent)) for agent in catalogue.list_agents()])


@router.get("/{agent_name}", responses=responses(404))
async def get_agent(
    agent_name: Annotated[str, Path(description="Its exact name.", max_length=64)], catalogue: CatalogueOfRequest
) -> AgentResponse:
    """One agent: what it takes, what it gives, which tools it may call."""
    return AgentResponse(**fields_of(catalogue.get_agent(agent_name)))
