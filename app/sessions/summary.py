"""Condenses turns into the memory of a session, with one model call."""

import html
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.agents.prompt import load_prompt
from app.llm.messages import Chat, Message
from app.llm.usage import ModelRole
from app.sessions.models import Memory, Turn

LONGEST_SUMMARY = 3000
# What is condensed is cut first: of a long text its beginning says what it was about.
LONGEST_TEXT = 4000
_NOTHING = "Nothing yet."


class ConversationSummary(BaseModel):
    """What earlier turns came to."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    summary: str = Field(description="What was wanted and what was done, in at most 150 words.")
    facts: list[str] = Field(description="At most 15 short sentences that may be needed later.")

    # Not as limits of the fields: providers refuse those in a strict schema.
    @model_validator(mode="after")
    def _is_short_and_says_something(self) -> Self:
        if not self.summary.strip():
            raise ValueError("the summary is blank")
        if len(self.summary) + sum(map(len, self.facts)) > LONGEST_SUMMARY:
            raise ValueError(f"the summary and the facts have more than {LONGEST_SUMMARY} characters")
        return self


async def summarise(chat: Chat, memory: Memory | None, turns: Sequence[Turn]) -> Memory:
    """The memory with these turns in it. Raises what the model call raises."""
    material = load_prompt("memory_turns").render(
        summary=_escaped(memory.text if memory else _NOTHING), turns="\n".join(map(_quoted, turns))
    )
    asked = (Message("system", load_prompt("memory").render()), Message("user", material))
    answer = (await chat.structured(ModelRole.MEMORY, asked, ConversationSummary)).value
    return Memory(answer.summary, tuple(answer.facts), turns[-1].position)


def shortened(turn: Turn) -> Turn:
    """As much of a turn as is condensed."""
    return replace(turn, question=turn.question[:LONGEST_TEXT], answer=turn.answer[:LONGEST_TEXT])


def _quoted(turn: Turn) -> str:
    short = shortened(turn)
    return f"<user>{_escaped(short.question)}</user>\n<assistant>{_escaped(short.answer)}</assistant>"


def _escaped(text: str) -> str:
    # So that nobody can close a tag and speak as somebody else.
    return html.escape(text, quote=False)
