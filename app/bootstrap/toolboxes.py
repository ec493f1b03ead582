"""The tools that a worker's agents may call: of plug-ins, and of configured MCP servers."""

import importlib
from collections.abc import Mapping
from typing import cast

from app.agents.registry import Registry
from app.agents.tools.functions import FunctionTools
from app.agents.tools.tool import ToolSource
from app.agents.tools.toolbox import Toolboxes
from app.setting_mcp import McpServer


def build_toolboxes(registry: Registry, servers: Mapping[str, McpServer]) -> Toolboxes:
    return Toolboxes(FunctionTools(registry.list_tools()), _mcp_tools(servers), servers)


def _mcp_tools(servers: Mapping[str, McpServer]) -> ToolSource | None:
    if not servers:
        return None
    # By name: the SDK takes most of a second to import, which a deployment without servers need not pay.
    return cast("ToolSource", importlib.import_module("app.agents.tools.mcp_tools").McpTools(servers))
