"""The MCP servers whose tools agents may use, as the variable MCP_SERVERS names them."""

import re
from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from app.setting_types import JsonObject, checked_http_url

_SERVER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]+")
# `mcp.<server>.<tool>` is the name of an effect, which has at most 64 characters.
_LONGEST_NAME = 64 - len("mcp..")


def _checked_url(value: str) -> str:
    checked_http_url(value)
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError("leave credentials out of the URL and put them into `headers`")
    return value


class McpServer(BaseModel):
    """One MCP server: where it is, and which agent may call which of its tools. What is not allowed is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_checked_url)] | None = None
    command: tuple[str, ...] | None = Field(None, min_length=1)
    headers: Mapping[str, SecretStr] = {}
    env: Mapping[str, SecretStr] = {}
    allow: Mapping[str, tuple[str, ...]] = {}
    read_only: tuple[str, ...] = ()
    timeout_sec: float = Field(30.0, gt=0, le=600)

    @model_validator(mode="after")
    def _is_one_kind_of_server(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError("give each server either `url` or `command`")
        if self.headers and self.url is None:
            raise ValueError("`headers` are for a server with `url`; give a `command` its secrets in `env`")
        if self.env and self.command is None:
            raise ValueError("`env` is for a server with `command`; give a `url` its secrets in `headers`")
        return self

    @property
    def tools(self) -> frozenset[str]:
        """Every tool that some agent may call."""
        return frozenset(tool for tools in self.allow.values() for tool in tools)


def _checked_names(servers: Mapping[str, McpServer]) -> Mapping[str, McpServer]:
    for name, server in servers.items():
        if not _SERVER_NAME.fullmatch(name):
            raise ValueError("a server's name has at most 32 lower-case letters, digits, `_` and `-`")
        for tool in server.tools:
            if not _TOOL_NAME.fullmatch(tool) or len(name) + len(tool) > _LONGEST_NAME:
                raise ValueError(
                    f"a tool allowed for {name!r} cannot be used: `mcp.<server>.<tool>` has at most 64 letters, "
                    "digits, `_`, `.` and `-`"
                )
        if unknown := set(server.read_only) - server.tools:
            raise ValueError(f"`read_only` of {name!r} names {len(unknown)} tools that `allow` gives to no agent")
    return servers


McpServers = Annotated[
    Mapping[str, McpServer],
    NoDecode,
    JsonObject,
    AfterValidator(_checked_names),
    Field(max_length=100),
]
