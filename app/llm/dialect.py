"""How one kind of provider is spoken to. Each implementation is the only module that knows its SDK."""

import importlib
from datetime import datetime
from typing import Any, Protocol, cast

import httpx2
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from pydantic import SecretStr

from app.llm.errors import ModelCallError
from app.llm.provider_errors import Call
from app.llm.providers import Provider
from app.model_names import ANTHROPIC

# Importing an SDK takes a second: only what a chain names is imported.
_OPENAI, _ANTHROPIC = "app.llm.openai_dialect", "app.llm.anthropic_dialect"


class Dialect(Protocol):
    """Implemented by modules."""

    # What a call may raise when the provider fails.
    FAILURES: tuple[type[Exception], ...]
    # The name of a call's own limit for its answer.
    MAX_TOKENS: str

    def create_client(
        self,
        provider: Provider,
        api_key: SecretStr,
        model: str,
        *,
        timeout: float,
        max_tokens: int,
        http_client: httpx2.AsyncClient,
    ) -> BaseChatModel:
        """A client that makes every call once, over the given connections; ``timeout`` in seconds."""
        ...

    def asking_for(self, client: Any, schema: dict[str, Any]) -> Runnable[Any, Any]:
        """The client, asking for this shape; its answer is `{"raw": AIMessage, …}`."""
        ...

    def translate(self, error: Exception, call: Call, *, now: datetime) -> ModelCallError: ...


def dialect_of(provider: Provider) -> Dialect:
    name = _ANTHROPIC if provider.name == ANTHROPIC else _OPENAI
    return cast("Dialect", importlib.import_module(name))
