"""The HTTP route that scores work before it runs, or without its ever running."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.governance.budgets.request import limits_in
from app.governance.scoring.schemas import described
from app.http.openapi import writing
from app.identity.authentication import CurrentPrincipal
from app.tasks.routes import Api
from app.workflows.scoring.schemas import ScoreRequest, ScoreResponse
from app.workflows.scoring.service import ScoringService, Terms

router = APIRouter(prefix="/v1/evaluations", tags=["Evaluations"])


async def _service(request: Request) -> ScoringService:
    service: ScoringService = request.app.state.scoring
    return service


Service = Annotated[ScoringService, Depends(_service)]


@router.post("", responses=writing(404))
async def score_work(body: ScoreRequest, api: Api, service: Service, principal: CurrentPrincipal) -> ScoreResponse:
    """How feasible, aligned, risky and costly a task or a step is, and why. Nothing runs, no model is asked."""
    terms = _terms(body)
    if body.task is not None:
        api.check_length(body.task)
        scores = await service.score_task(body.task, body.input or {}, terms, agent=body.agent)
    else:
        scores = await service.score_step(principal.tenant_id, body.workflow or "", body.step or "", body.input, terms)
    kind = "step" if body.task is None else "task"
    return ScoreResponse(kind=kind, **described(scores).model_dump())


def _terms(body: ScoreRequest) -> Terms:
    limits = limits_in(body.budget.model_dump()) if body.budget else {}
    return Terms(limits, timedelta(seconds=body.deadline_seconds) if body.deadline_seconds else None)
