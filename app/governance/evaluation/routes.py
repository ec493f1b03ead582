"""The HTTP route of evaluators. They are the deployment's, so every tenant sees the same."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.governance.evaluation.plugins import Evaluators
from app.governance.evaluation.schemas import EvaluatorListResponse, described
from app.http.openapi import responses

router = APIRouter(prefix="/v1/evaluators", tags=["Evaluators"])


async def _evaluators(request: Request) -> Evaluators:
    evaluators: Evaluators = request.app.state.evaluators
    return evaluators


@router.get("", responses=responses())
async def list_evaluators(evaluators: Annotated[Evaluators, Depends(_evaluators)]) -> EvaluatorListResponse:
    """Every evaluator of this deployment; the checks of the product are not among them."""
    return EvaluatorListResponse(items=[described(one) for one in evaluators.list_evaluators()])
