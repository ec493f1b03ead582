"""The configured models behind their providers' SDKs. Retries belong to the job kernel, so none happen here."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Self, cast

import httpx2
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from openai import DefaultAsyncHttpxClient

from app.clock import Clock, utc_now
from app.errors import Invalid
from app.llm.answers import parsed, refuse_unusable, text_of, usage_of
from app.llm.circuits import CircuitKey
from app.llm.dialect import Dialect, dialect_of
from app.llm.errors import LlmAuth
from app.llm.messages import Asked, Completion, M, Message, OnToken, Structured
from app.llm.provider_errors import Call
from app.llm.providers import Chains, Provider, chains_of, models_in, providers_of
from app.llm.tls import trusted_certificates
from app.llm.token_stream import stream_answer
from app.llm.usage import ModelRole
from app.model_names import ModelRef
from app.settings import Settings

POOLS = 8


class ChatModels:
    """Owns the HTTP clients of all models; belongs to the event loop that first awaits it. Close it with `aclose`.

    Asked for a role, it asks the first model of its chain; `app.llm.fallback` goes on to the others.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        chains: Chains,
        *,
        timeout: timedelta,
        max_tokens: int,
        http_client: httpx2.AsyncClient | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.chains = chains
        self._providers = providers
        self._timeout = timeout.total_seconds()
        self._max_tokens = max_tokens
        # Several small pools: a pool looks at all its connections for every request, which costs the square of them.
        self._pools = [http_client] if http_client else [create_pool() for _ in range(POOLS)]
        self._turn = itertools.count()
        self._clock = clock
        # Imported at the start, since that takes a second, and not by the first task.
        self._dialects = {
            model.provider: dialect_of(providers[model.provider])
            for model in models_in(chains)
            if model.provider in providers
        }
        self._clients: dict[tuple[ModelRef, int], BaseChatModel] = {}

    @classmethod
    def from_settings(cls, settings: Settings, *, http_client: httpx2.AsyncClient | None = None) -> Self:
        return cls(
            providers_of(settings),
            chains_of(settings),
            timeout=timedelta(seconds=settings.llm_timeout_sec),
            max_tokens=settings.llm_max_tokens,
            http_client=http_client,
        )

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()

    def provider_of(self, model: ModelRef) -> Provider:
        """Raises `Invalid` for a provider that is not configured."""
        if model.provider not in self._providers:
            raise Invalid(f"there is no model provider {model.provider!r}, only {', '.join(self._providers)}")
        return self._providers[model.provider]

    def model_of(self, asked: Asked) -> ModelRef:
        return self.chains[asked][0] if isinstance(asked, ModelRole) else asked

    def circuit_of(self, asked: Asked) -> CircuitKey:
        call = self._call(asked)
        return CircuitKey(call.provider.host, call.model.model)

    def model_name(self, role: Asked) -> str:
        return str(self.model_of(role))

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        """One text answer. Raises `ModelCallError` and its kin; refused, blank and cut-off texts are errors."""
        call = self._call(role)
        client, wire = self._client(call), _wire(messages)
        options: dict[str, Any] = {} if max_tokens is None else {self._dialect(call).MAX_TOKENS: max_tokens}
        if on_token is None:
            answer = await self._ask(call, client.ainvoke(wire, **options))
        else:
            answer = await self._ask(call, stream_answer(client, wire, on_token, model=call.name, **options))
        refuse_unusable(answer, call)
        return Completion(text_of(answer), call.name, usage_of(answer))

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        """One answer of the given shape. Raises `AgentOutputInvalid`, with the usage, when it has another."""
        call = self._call(role)
        asked = self._dialect(call).asking_for(self._client(call), schema.model_json_schema())
        result = await self._ask(call, asked.ainvoke(_wire(messages)))
        answer = cast("AIMessage", cast("dict[str, Any]", result)["raw"])
        refuse_unusable(answer, call)
        return Structured(parsed(answer, schema, call), call.name, usage_of(answer))

    def _call(self, asked: Asked) -> Call:
        model = self.model_of(asked)
        return Call(self.provider_of(model), model)

    async def _ask(self, call: Call, answer: Any) -> Any:
        dialect = self._dialect(call)
        try:
            # The SDK's timeout is per read; a provider that trickles bytes would never meet it.
            async with asyncio.timeout(self._timeout):
                return await answer
        except dialect.FAILURES as error:
            raise dialect.translate(error, call, now=self._clock()) from error

    def _dialect(self, call: Call) -> Dialect:
        name = call.provider.name
        if name not in self._dialects:
            self._dialects[name] = dialect_of(call.provider)
        return self._dialects[name]

    def _client(self, call: Call) -> BaseChatModel:
        key = call.provider.api_key
        if key is None:
            raise LlmAuth(
                f"no model key: set {call.provider.key_setting} (any value for a local model that needs none)",
                model=call.name,
            )
        pool = next(self._turn) % len(self._pools)
        if (call.model, pool) not in self._clients:
            self._clients[call.model, pool] = self._dialect(call).create_client(
                call.provider,
                key,
                call.model.model,
                timeout=self._timeout,
                max_tokens=self._max_tokens,
                http_client=self._pools[pool],
            )
        return self._clients[call.model, pool]


def create_pool(transport: httpx2.AsyncBaseTransport | None = None) -> httpx2.AsyncClient:
    # No redirects: a key in a header of its own would go along to another host.
    return DefaultAsyncHttpxClient(follow_redirects=False, transport=transport, verify=trusted_certificates())


def _wire(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, str(message.content)) for message in messages]
