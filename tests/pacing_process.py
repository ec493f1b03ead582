"""One of several processes that share what a provider allows: says what it is let to do, line by line.

Started as ``python -m tests.pacing_process REDIS_URL``; each line it reads is a number of tokens, or ``pause SECONDS``.
"""

import asyncio
import sys
from datetime import timedelta

import structlog

from app.llm.allowances import SharedWindows
from app.llm.errors import ProviderBusy
from app.llm.pacing import Pacer
from app.model_names import ModelRef
from app.model_settings import RateAllowance

MODEL = ModelRef("openai", "gpt-4o")
REQUESTS, TOKENS = 5, 1000


async def obey(redis_url: str) -> None:
    allowed = {MODEL: RateAllowance(requests_per_minute=REQUESTS, tokens_per_minute=TOKENS)}
    pacer = Pacer(allowed, shared=SharedWindows(redis_url))
    while line := await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(f"{await _told(pacer, line.split())}\n")
        sys.stdout.flush()
    await pacer.close()


async def _told(pacer: Pacer, order: list[str]) -> str:
    if order[0] == "pause":
        await pacer.pause(MODEL, timedelta(seconds=float(order[1])))
        return "paused"
    try:
        await pacer.admit(MODEL, int(order[0]))
    except ProviderBusy:
        return "busy"
    return "admitted"


if __name__ == "__main__":
    # The answers have their output for themselves.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(obey(sys.argv[1]))
