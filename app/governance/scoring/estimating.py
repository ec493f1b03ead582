"""What one attempt would consume, by rule of thumb: nothing is looked up. Of version 1; a change is a new version."""

from collections.abc import Mapping

from app.agents.specs import CostClass
from app.governance.scoring.models import Estimate, ScoringSubject, TokenPrice

CALLS: Mapping[CostClass, int] = {CostClass.FREE: 0, CostClass.LOW: 2, CostClass.MEDIUM: 6, CostClass.HIGH: 30}
# Where nobody is known to do it.
OF_UNKNOWN = CostClass.MEDIUM
BYTES_PER_TOKEN = 3
# Of each call, besides what it is asked: what the agent says itself, and the answer.
PROMPT_TOKENS, ANSWER_TOKENS = 800, 800
WORK_MS, CALL_MS = 1000, 5000
_MILLION = 1_000_000


def estimate(subject: ScoringSubject, size: int) -> Estimate:
    """``size`` is in bytes, of text and input together."""
    calls = _calls(subject) * subject.repetitions
    prompt = calls * (PROMPT_TOKENS + -(-size // BYTES_PER_TOKEN))
    answers = calls * ANSWER_TOKENS
    price = subject.agent.price if subject.agent else None
    return Estimate(
        model_calls=calls,
        tokens=prompt + answers,
        usd=_usd(prompt, answers, price) if calls else 0,
        wall_ms=subject.repetitions * WORK_MS + calls * CALL_MS,
    )


def _calls(subject: ScoringSubject) -> int:
    if subject.agent is not None:
        return CALLS[subject.agent.cost_class]
    return CALLS[OF_UNKNOWN] if subject.needs_agent else 0


def _usd(prompt: int, answers: int, price: TokenPrice | None) -> int | None:
    return None if price is None else -(-(prompt * price.prompt + answers * price.completion) // _MILLION)
