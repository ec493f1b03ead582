"""The settings of what models are told, and of sessions, a part of `app.settings.Settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings


class ContextSettings(BaseSettings):
    # --- context and sessions
    llm_context_tokens: int = Field(
        100_000,
        ge=1000,
        le=10_000_000,
        description="Most tokens a prompt may have, estimated as a third of its bytes. Of a longer one the oldest "
        "turns are left out; a task that is too long by itself fails with CONTEXT_TOO_LONG.",
    )
    session_context_tokens: int = Field(
        4000,
        ge=0,
        le=1_000_000,
        description="Most tokens of earlier turns a task of a session is told, summary included; 0 tells none.",
    )
    session_summary_tokens: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="What no longer fits is condensed by a model, at least so many tokens at a time; 0 forgets it.",
    )
    session_ttl_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="Messages and memory of a session are removed so long after its last activity; tasks stay.",
    )
