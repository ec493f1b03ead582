"""Whether and when a failed attempt at a step is followed by another: a pure decision.

The delay is exponential backoff with full jitter, as that of jobs (`app.jobs.retry`); a provider's Retry-After is a
lower bound.
"""

from datetime import timedelta

from app.agents.contracts import AgentInputInvalid
from app.errors import AttemptTimeout, Invalid, NotAsked, NotFound, OrchestratorError, RateLimited, WorkerLost
from app.governance.budgets.models import BudgetBusy, BudgetExceeded
from app.jobs.retry import SHORT_PAUSE, Backoff
from app.llm.errors import AgentOutputInvalid, LlmRateLimited, LlmTimeout
from app.workflows.language.models import Defaults, RetryClass, RetrySpec, Step

# What steps have that ask a model, and nobody says otherwise.
OF_MODELS = RetrySpec(max_attempts=3, on=["timeout", "rate_limit", "provider", "contract"])
ONCE = RetrySpec(max_attempts=1)
# Calls that nobody was asked for are not charged, and must end nevertheless.
MOST_TRIES = 100
# Another attempt would end the same.
_HOPELESS = (BudgetExceeded, AgentInputInvalid, Invalid, NotFound)


def is_patient(step: Step) -> bool:
    """Whether it mostly waits: it takes no place of those that work, and has no time limit but its own."""
    return step.approval is not None or step.wait is not None


def retries_of(step: Step, defaults: Defaults) -> RetrySpec:
    """The step's own, else the workflow's, else what is usual for its kind."""
    if is_patient(step):
        return step.retry or ONCE
    asks_models = step.agent is not None or step.task is not None or step.evaluate is not None
    return step.retry or defaults.retry or (OF_MODELS if asks_models else ONCE)


def class_of(error: OrchestratorError) -> RetryClass | None:
    """None for an error that only `any` repeats."""
    match error:
        case AgentOutputInvalid():
            return "contract" if error.retryable else None
        case AttemptTimeout() | LlmTimeout():
            return "timeout"
        case LlmRateLimited() | NotAsked() | RateLimited():
            return "rate_limit" if error.retryable else None
        case WorkerLost():
            return "worker_lost"
        case _:
            return "provider" if error.retryable else None


def delay_before_retry(
    spec: RetrySpec, error: OrchestratorError, *, failures: int, tries: int, jitter: float
) -> timedelta | None:
    """The pause after failure number ``failures`` (from 1) of so many ``tries``; None when there is no other attempt.

    ``jitter`` is uniform in [0, 1).
    """
    is_charged = not isinstance(error, NotAsked)
    if isinstance(error, _HOPELESS) or tries >= MOST_TRIES or (is_charged and failures >= spec.max_attempts):
        return None
    # What other steps reserve at the moment is no failure of this one.
    if not {"any", class_of(error)}.intersection(spec.on) and not isinstance(error, BudgetBusy):
        return None
    return (error.retry_after or timedelta()) + _backoff(spec, error, failures, jitter)


def _backoff(spec: RetrySpec, error: OrchestratorError, failures: int, jitter: float) -> timedelta:
    share = jitter if spec.jitter == "full" else 1.0
    if not error.backs_off:
        return min(SHORT_PAUSE, spec.initial) * share
    if spec.backoff == "fixed":
        return min(spec.initial, spec.maximum) * share
    return Backoff(spec.initial, spec.maximum).delay(failures, jitter=share)
