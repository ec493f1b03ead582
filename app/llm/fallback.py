"""Turns a call for a role into calls for one model each: when the first cannot answer, the next is asked."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from app.errors import CircuitOpen, ExecutionError, NotAsked
from app.llm.errors import LlmError, LlmRejected, ProviderBusy
from app.llm.facade import ChatFacade, Question
from app.llm.messages import A, Asked, Chat
from app.llm.providers import Chains
from app.llm.usage import ModelRole
from app.model_names import ModelRef

log = structlog.get_logger(__name__)


class FallbackChat(ChatFacade):
    """Stands in front of the facades that count, limit and guard, so that they see every call to a provider.

    A bad request, a refusal, an answer of the wrong shape or a budget that is used up ends the call: another model is
    no remedy for those.
    """

    def __init__(self, chat: Chat, chains: Chains) -> None:
        super().__init__(chat)
        self._chains = chains

    def model_name(self, role: Asked) -> str:
        return self._chat.model_name(self._chain(role)[0])

    async def _ask(self, question: Question[A]) -> A:
        failures: list[ExecutionError] = []
        for model in self._chain(question.role):
            try:
                return await replace(question, role=model).put_to(self._chat)
            except ExecutionError as error:
                if not is_worth_another(error):
                    raise
                failures.append(error)
                log.info("llm.model_failed", model=str(model), error_type=error.code)
        raise told_of(failures)

    def _chain(self, asked: Asked) -> Sequence[ModelRef]:
        return self._chains[asked] if isinstance(asked, ModelRole) else (asked,)


def is_worth_another(error: ExecutionError) -> bool:
    """Whether another model may answer what this one did not."""
    return isinstance(error, LlmError | CircuitOpen | ProviderBusy) and not isinstance(error, LlmRejected)


def told_of(failures: Sequence[ExecutionError]) -> ExecutionError:
    """The failure of a whole chain: one that passes before one that stays, one that was tried before one that was not.

    Of those that were not tried it is the one that can be first: then the chain is worth another try.
    """
    return min(failures, key=_rank)


def _rank(error: ExecutionError) -> tuple[bool, bool, timedelta]:
    was_tried = not isinstance(error, NotAsked)
    wait = timedelta() if was_tried else error.retry_after or timedelta()
    return (not error.retryable, not was_tried, wait)
