"""Which tools an agent may call: pure. What nobody allowed is refused."""

from collections.abc import Mapping

from app.agents.specs import AgentSpec
from app.agents.tools.models import MCP_PREFIX
from app.setting_mcp import McpServer


def tools_of(spec: AgentSpec, servers: Mapping[str, McpServer]) -> frozenset[str]:
    """The agent's own tools as its package names them, and those of MCP servers as the deployment allows them.

    A package cannot give itself an MCP server's tool: that it names one only says that it has a use for it.
    """
    own = (name for name in spec.tools if not name.startswith(MCP_PREFIX))
    allowed = (
        f"{MCP_PREFIX}{server_name}.{tool}"
        for server_name, server in servers.items()
        for tool in server.allow.get(spec.name, ())
    )
    return frozenset((*own, *allowed))
