"""One try at a step: what it is given, and what is noted of it whatever becomes of it."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from app.agents.metering import Meter
from app.workflows.local.budgets import LocalSpending
from app.workflows.run import Execute
from app.workflows.steps.transcripts import Transcript


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
    prompt: Transcript | None = None
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
