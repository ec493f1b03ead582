"""One try at a step: what it is given, and what is noted of it whatever becomes of it."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from app.agents.metering import Meter
from app.llm.messages import Asked, Chat, Completion, M, Message, OnToken, Structured
from app.observability.redaction import Redactor
from app.workflows.local.budgets import LocalSpending
from app.workflows.run import Execute


@dataclass(slots=True)
class Attempt:
    """``number`` counts from 1, interrupted ones too; ``began_at`` is when the step's first attempt began.

    ``feedback`` says why the last answer was refused.
    """

    execute: Execute
    number: int
    began_at: datetime
    folder: Path
    spending: LocalSpending
    meter: Meter
    feedback: str | None = None
    agent: str | None = None
    prompt: "Transcript | None" = None
    started: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        return self.execute.path

    def evidence(self) -> dict[str, Any]:
        """What the journal says of it."""
        usage = self.meter.usage
        return {
            "attempt": self.number,
            "agent": self.agent,
            "models": list(self.meter.models),
            "prompts": dict(self.meter.prompts),
            "prompt_sha256": self.prompt.sha256 if self.prompt else None,
            "cost": {
                "usd": round(self.meter.usd, 8),
                "prompt_tokens": usage.prompt,
                "completion_tokens": usage.completion,
                "tokens": usage.total,
                "model_calls": self.meter.calls,
                "unpriced_calls": self.meter.unpriced_calls,
                "seconds": round(time.monotonic() - self.started, 3),
            },
        }


class Transcript:
    """Writes the prompts of an attempt to a file, without the configured secrets."""

    def __init__(self, path: Path, redactor: Redactor) -> None:
        self._path = path
        self._redactor = redactor
        self._digest = hashlib.sha256()
        self._has_text = False

    @property
    def sha256(self) -> str | None:
        """Of the file; None as long as no model was asked."""
        return self._digest.hexdigest() if self._has_text else None

    def note(self, role: Asked, messages: Sequence[Message]) -> None:
        parts = [f"=== {role}", *(f"--- {one.role}\n{one.content}" for one in messages)]
        data = self._redactor.masked("\n".join(parts) + "\n").encode("utf-8", "surrogatepass")
        self._digest.update(data)
        # What an attempt before this one asked is of no more use.
        with self._path.open("ab" if self._has_text else "wb") as file:
            file.write(data)
        self._has_text = True


class TranscribedChat:
    """The same models; every prompt is noted before they are asked."""

    def __init__(self, chat: Chat, transcript: Transcript) -> None:
        self._chat = chat
        self._transcript = transcript

    def model_name(self, role: Asked) -> str:
        return self._chat.model_name(role)

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        self._transcript.note(role, messages)
        return await self._chat.complete(role, messages, max_tokens=max_tokens, on_token=on_token)

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        self._transcript.note(role, messages)
        return await self._chat.structured(role, messages, schema)
