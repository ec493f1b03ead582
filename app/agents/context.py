"""Fits what a model is asked into a number of tokens, by rule.

Cut are, in this order, the oldest turns of the conversation, and what is ranked last of anything else that is ranked
(sources, files). Instructions and the task are never cut: where they alone are too long, that is an error.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from app.errors import ExecutionError
from app.llm.facade import ChatFacade, Question
from app.llm.messages import CORRECTION, A, Chat, Message
from app.llm.tokens import tokens_of

T = TypeVar("T")


class ContextTooLong(ExecutionError):
    """The part of a prompt that must not be cut is longer than the model takes."""

    code = "CONTEXT_TOO_LONG"
    title = "Too long for the model"


def fit_ranked(ranked: Iterable[T], limit: int, *, size: Callable[[T], int]) -> list[T]:
    """The first that fit together, up to the one that does not: a gap would show what is ranked lower and not that."""
    kept, left = [], limit
    for one in ranked:
        left -= size(one)
        if left < 0:
            break
        kept.append(one)
    return kept


def fit(messages: Sequence[Message], limit: int) -> tuple[Message, ...]:
    """The messages without as many of the oldest turns as it takes; whole turns only.

    Instructions and everything from the task on (the newest message of the user that corrects nothing) stay as they
    are. Raises `ContextTooLong` when these have more than ``limit`` tokens.
    """
    if tokens_of(messages) <= limit:
        return tuple(messages)
    instructions, history, task = _parts(messages)
    needed = tokens_of(instructions) + tokens_of(task)
    if needed > limit:
        raise ContextTooLong(
            f"the task and its instructions have about {needed} tokens, and {limit} fit: shorten the task or its "
            "input, or raise LLM_CONTEXT_TOKENS if the model takes more"
        )
    kept = fit_ranked(reversed(turns_of(history)), limit - needed, size=tokens_of)
    return (*instructions, *(message for turn in reversed(kept) for message in turn), *task)


def turns_of(history: Iterable[Message]) -> list[tuple[Message, ...]]:
    """Each message of the user with what was answered to it."""
    turns: list[tuple[Message, ...]] = []
    for message in history:
        if message.role == "user" or not turns:
            turns.append(())
        turns[-1] += (message,)
    return turns


def last_turn(history: Sequence[Message], *, longest: int) -> tuple[Message, ...]:
    """The newest turn, for who only has to know what it was about: each text is cut to so many characters."""
    turns = turns_of(history)
    return tuple(replace(message, content=_begin(message.content, longest)) for message in (turns[-1] if turns else ()))


class FittedChat(ChatFacade):
    """Fits every prompt that is given to the chat; raises `ContextTooLong` instead of asking in vain."""

    def __init__(self, chat: Chat, *, limit: int) -> None:
        super().__init__(chat)
        self._limit = limit

    async def _ask(self, question: Question[A]) -> A:
        fitted = replace(question, messages=fit(question.messages, self._limit))
        return await fitted.put_to(self._chat)


def _parts(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message], Sequence[Message]]:
    """Instructions, history, and the task with what corrects answers to it."""
    begin = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    tasks = [at for at in range(begin, len(messages)) if _is_task(messages[at])]
    end = tasks[-1] if tasks else begin
    return messages[:begin], messages[begin:end], messages[end:]


def _is_task(message: Message) -> bool:
    return message.role == "user" and not message.content.startswith(CORRECTION)


def _begin(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest].rstrip()}…"
