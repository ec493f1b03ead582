"""The settings of what installed packages and MCP servers add, a part of `app.settings.Settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings

from app.setting_mcp import McpServers
from app.setting_types import PluginNames


class PluginSettings(BaseSettings):
    # --- plug-ins and tools
    agent_plugins: PluginNames = Field(
        None,
        description="Installed packages that may add agents, tools and evaluators: comma-separated names, `all` (the "
        "default) or `none`.",
    )
    mcp_servers: McpServers = Field(
        {},
        description="MCP servers whose tools agents may call, as JSON: `url` or `command`, and `allow` with the tools "
        "of each agent. See docs/how-to/use-mcp-tools.md.",
    )
