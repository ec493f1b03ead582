"""Settings of approvals."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode

from app.setting_types import HttpUrl

_ROLES = frozenset({"viewer", "member", "admin"})


def _split_groups(value: Any) -> Any:
    """``legal=a1+b2,finance=c3`` as sets by name; anything else as it is."""
    if not isinstance(value, str):
        return value
    groups: dict[str, frozenset[str]] = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        name, _, members = (part.strip() for part in entry.partition("="))
        keys = frozenset(key.strip() for key in members.split("+") if key.strip())
        if not name or not keys or name in groups:
            raise ValueError("write each group once as `name=key-id+key-id`, with commas between them")
        if name in _ROLES:
            raise ValueError(f"{name!r} is a role; call the group otherwise")
        groups[name] = keys
    return groups


Groups = Annotated[Mapping[str, frozenset[str]], NoDecode, BeforeValidator(_split_groups), Field(max_length=1000)]


class ApprovalSettings(BaseSettings):
    # --- approvals
    approver_groups: Groups = Field(
        {},
        description="Who approvers are that workflows and policies name as groups: `legal=a1b2c3d4e5f6+0a1b2c3d4e5f,"
        "finance=…`, by the ids of keys as `created_by` and `by` show them.",
    )
    public_url: HttpUrl | None = Field(
        None, description="Where people reach the API; links to approvals in mails and chats begin with it."
    )
