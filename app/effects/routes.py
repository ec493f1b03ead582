"""The HTTP routes of effects: what a task did to the world outside."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from app.effects.models import EffectStatus
from app.effects.service import MOST_LISTED, EffectService, Known
from app.http.openapi import responses, writing
from app.http.timestamps import Timestamp
from app.identity.authentication import CurrentPrincipal

router = APIRouter(prefix="/v1/tasks/{task_id}/effects", tags=["Tasks"])
EXAMPLE_KEY = "9d3c6f0e-7b1a-8c42-a5d1-3f0e6a2b9c11"
TaskId = Annotated[str, Path(description="The id that `execute` answered.")]
Key = Annotated[str, Path(description="The effect's key.", examples=[EXAMPLE_KEY])]


class EffectProblem(BaseModel):
    type: str = Field(examples=["EFFECT_REFUSED"])
    message: str


class EffectResponse(BaseModel):
    """One call of a tool, or one message, that changes something outside."""

    key: str = Field(examples=[EXAMPLE_KEY], description="What the receiver got as `Idempotency-Key`.")
    name: str = Field(examples=["send_email"])
    step: str | None
    status: EffectStatus = Field(
        description="`done`: it happened. `failed`: it certainly did not. `started`: it may have happened."
    )
    is_uncertain: bool = Field(description="Nobody is at it any more and nobody knows whether it happened.")
    attempts: int = Field(description="How often it was sent, always with the same key.")
    attempt: int = Field(description="The task's attempt that sent it last.")
    started_at: Timestamp
    fired_at: Timestamp = Field(description="When it was sent last.")
    finished_at: Timestamp | None
    result: Any
    error: EffectProblem | None
    resolved_by: str | None = Field(description="Id of the key of whoever said whether it happened.")


class EffectListResponse(BaseModel):
    items: list[EffectResponse]
    has_more: bool = Field(description=f"True when the task has more than these {MOST_LISTED}.")
    api_version: Literal["v1"] = "v1"


class ResolveRequest(BaseModel):
    """What a person found out about an uncertain effect."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"happened": True}, {"happened": False}]}
    )

    happened: bool = Field(description="True: it is not sent again. False: the next attempt sends it.")


async def _service(request: Request) -> EffectService:
    service: EffectService = request.app.state.effects
    return service


Service = Annotated[EffectService, Depends(_service)]


@router.get("", responses=responses(404, 503))
async def list_task_effects(task_id: TaskId, service: Service, principal: CurrentPrincipal) -> EffectListResponse:
    """What the task did to the world outside, in the order in which it was begun."""
    known = await service.list_of_task(principal.tenant_id, task_id)
    return EffectListResponse(items=[_present(one) for one in known[:MOST_LISTED]], has_more=len(known) > MOST_LISTED)


@router.post("/{key}/resolve", responses=writing(404, 409))
async def resolve_task_effect(
    task_id: TaskId, key: Key, body: ResolveRequest, service: Service, principal: CurrentPrincipal
) -> EffectResponse:
    """Say whether an uncertain effect happened; then retry the task."""
    resolved = await service.resolve(principal.tenant_id, task_id, key, happened=body.happened, by=principal.key_id)
    return _present(resolved)


def _present(known: Known) -> EffectResponse:
    effect = known.effect
    return EffectResponse(
        key=effect.key,
        name=effect.name,
        step=effect.step,
        status=effect.status,
        is_uncertain=known.is_uncertain,
        attempts=effect.firings,
        attempt=effect.attempt,
        started_at=effect.started_at,
        fired_at=effect.fired_at,
        finished_at=effect.finished_at,
        result=None if effect.result is None else json.loads(effect.result),
        error=EffectProblem(type=effect.error.type, message=effect.error.message) if effect.error else None,
        resolved_by=effect.resolved_by,
    )
