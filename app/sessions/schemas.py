"""What crosses the wire for sessions. Field names are a contract: add, never rename or remove."""

from typing import Literal

from pydantic import BaseModel, Field

from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp


class SessionCost(BaseModel):
    tokens: int = Field(description="Prompt and completion tokens together.")
    usd: float = Field(description="US dollars by list price.")


class SessionResponse(BaseModel):
    """A conversation: its tasks, and what is remembered of them."""

    session_id: str = Field(examples=["demo"])
    created_at: Timestamp = Field(description="When its first task was accepted.")
    last_activity_at: Timestamp
    expires_at: Timestamp = Field(description="After that its messages and its memory are removed; activity prolongs.")
    message_count: int
    task_count: int
    has_summary: bool = Field(description="Whether older turns are condensed in its memory.")
    cost: SessionCost
    api_version: Literal["v1"] = "v1"


class SessionItem(BaseModel):
    session_id: str = Field(examples=["demo"])
    last_activity_at: Timestamp
    expires_at: Timestamp
    has_summary: bool


class SessionListResponse(BaseModel):
    items: list[SessionItem]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class SessionMessage(BaseModel):
    """What a user asked or an agent answered."""

    task_id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: Timestamp


class MessageListResponse(BaseModel):
    items: list[SessionMessage]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"
