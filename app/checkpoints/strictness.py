"""LangGraph's strict mode, which it reads from the environment once, when it is imported.

Without it, whatever a stored checkpoint names is imported and called when the checkpoint is read.
"""

from collections.abc import Mapping

from app.settings import ConfigurationError

VARIABLE = "LANGGRAPH_STRICT_MSGPACK"
# As LangGraph reads it.
_ON = frozenset({"1", "true", "yes"})


def require_strict_msgpack(environment: Mapping[str, str]) -> None:
    """Raises `ConfigurationError` when the strict mode is off or not mentioned."""
    if environment.get(VARIABLE, "").lower() not in _ON:
        raise ConfigurationError(
            f"The configuration is wrong:\n  {VARIABLE}: write true or remove it; without the strict mode a stored "
            "checkpoint could run code in the worker"
        )
