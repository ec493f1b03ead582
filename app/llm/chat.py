"""The configured models behind langchain-openai. Retries belong to the job kernel, so none happen here."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Self, cast

import httpx2
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient
from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from app.clock import Clock, utc_now
from app.llm.circuits import provider_of
from app.llm.errors import AgentOutputInvalid, LlmAuth, ModelRefused
from app.llm.messages import Completion, M, Message, OnToken, Structured
from app.llm.provider_errors import PROVIDER_FAILURES, cut_off, translate
from app.llm.usage import NO_USAGE, ModelRole, TokenUsage
from app.settings import Settings

POOLS = 8
OPENAI = "https://api.openai.com/v1"
MOST_PROBLEMS = 5
LONGEST_PROBLEMS = 500
LONGEST_NAME = 40


class ChatModels:
    """Owns the HTTP clients of all models; belongs to the event loop that first awaits it. Close it with `aclose`."""

    def __init__(
        self,
        *,
        api_key: SecretStr | None,
        base_url: str | None,
        models: Mapping[ModelRole, str],
        timeout: timedelta,
        max_tokens: int,
        http_client: httpx2.AsyncClient | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url or OPENAI
        self._models = dict(models)
        self._timeout = timeout.total_seconds()
        self._max_tokens = max_tokens
        # Several small pools: a pool looks at all its connections for every request, which costs the square of them.
        self._pools = [http_client] if http_client else [DefaultAsyncHttpxClient() for _ in range(POOLS)]
        self._turn = itertools.count()
        self._clock = clock
        self._clients: dict[tuple[str, int], ChatOpenAI] = {}

    @classmethod
    def from_settings(cls, settings: Settings, *, http_client: httpx2.AsyncClient | None = None) -> Self:
        return cls(
            api_key=settings.openai_api_key,
            base_url=settings.openai_base_url,
            models={
                ModelRole.PEER: settings.llm_peer_model,
                ModelRole.CONTENT: settings.llm_content_model,
                ModelRole.CODE: settings.llm_code_model,
                ModelRole.TEXT: settings.llm_peer_model,
                ModelRole.EVALUATOR: settings.llm_peer_model,
                ModelRole.MEMORY: settings.llm_peer_model,
            },
            timeout=timedelta(seconds=settings.llm_timeout_sec),
            max_tokens=settings.llm_max_tokens,
            http_client=http_client,
        )

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()

    @property
    def provider(self) -> str:
        """Whom the models belong to, as circuits and messages name it."""
        return provider_of(self._base_url)

    def model_name(self, role: ModelRole) -> str:
        return self._models[role]

    async def complete(
        self,
        role: ModelRole,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,  # noqa: ARG002 - streaming comes with the live events
    ) -> Completion:
        """One text answer. Raises `ModelCallError` and its kin; refused, blank and cut-off texts are errors."""
        model = self.model_name(role)
        client = self._client(model)
        asked = client if max_tokens is None else client.bind(max_tokens=max_tokens)
        answer = await self._ask(model, asked.ainvoke(_wire(messages)))
        _refuse_unusable(answer, model)
        return Completion(_text(answer), _answered_by(answer, model), _usage(answer))

    async def structured(self, role: ModelRole, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        """One answer of the given shape. Raises `AgentOutputInvalid`, with the usage, when it has another."""
        model = self.model_name(role)
        # A dict schema, not the class: with the class a mismatch raises inside the SDK and the usage is lost.
        asked = self._client(model).with_structured_output(
            schema.model_json_schema(), method="json_schema", include_raw=True, strict=True
        )
        result = await self._ask(model, asked.ainvoke(_wire(messages)))
        answer = cast("AIMessage", cast("dict[str, Any]", result)["raw"])
        _refuse_unusable(answer, model)
        return Structured(_parsed(answer, schema, model), _answered_by(answer, model), _usage(answer))

    async def _ask(self, model: str, call: Any) -> Any:
        try:
            # The SDK's timeout is per read; a provider that trickles bytes would never meet it.
            async with asyncio.timeout(self._timeout):
                return await call
        except PROVIDER_FAILURES as error:
            raise translate(error, model=model, now=self._clock()) from error

    def _client(self, model: str) -> ChatOpenAI:
        if self._api_key is None:
            raise LlmAuth("no model key: set OPENAI_API_KEY (any value for a local model that needs none)")
        pool = next(self._turn) % len(self._pools)
        if (model, pool) not in self._clients:
            self._clients[model, pool] = ChatOpenAI(
                model=model,
                api_key=self._api_key,
                base_url=self._base_url,
                timeout=self._timeout,
                max_tokens=self._max_tokens,
                max_retries=0,
                stream_usage=True,
                use_responses_api=False,
                http_async_client=self._pools[pool],
                # Ours is the client; left to its default, the library warns about a transport it then does not use.
                http_socket_options=(),
            )
        return self._clients[model, pool]


def _wire(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def _refuse_unusable(answer: AIMessage, model: str) -> None:
    usage = _usage(answer)
    finish = answer.response_metadata.get("finish_reason")
    if answer.additional_kwargs.get("refusal") or finish == "content_filter":
        raise ModelRefused("the model refused the task", usage=usage, model=model)
    if finish == "length":
        raise cut_off(model, usage)
    if not _text(answer).strip():
        raise AgentOutputInvalid("the model answered with nothing", usage=usage, model=model)


def _parsed(answer: AIMessage, schema: type[M], model: str) -> M:
    try:
        return schema.model_validate_json(_text(answer))
    except ValidationError as error:
        raise AgentOutputInvalid(
            f"the model's answer is not a {schema.__name__}: {_problems(error)}",
            usage=_usage(answer),
            model=model,
        ) from error


def _problems(error: ValidationError) -> str:
    """Which fields are wrong and why, for people and for the model's next attempt; never what it wrote in them."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = "; ".join(_problem(one) for one in found[:MOST_PROBLEMS])
    return (
        f"{told[:LONGEST_PROBLEMS]}{f'; and {len(found) - MOST_PROBLEMS} more' if len(found) > MOST_PROBLEMS else ''}"
    )


def _problem(one: ErrorDetails) -> str:
    where = ".".join(str(part)[:LONGEST_NAME] for part in one["loc"]) or "answer"
    # The message of a wrong tag quotes it.
    return f"{where}: {one['type'] if one['type'] == 'union_tag_invalid' else one['msg']}"


def _text(answer: AIMessage) -> str:
    return str(answer.text)


def _answered_by(answer: AIMessage, model: str) -> str:
    return str(answer.response_metadata.get("model_name") or model)


def _usage(answer: AIMessage) -> TokenUsage:
    reported = answer.usage_metadata
    if reported is None:
        return NO_USAGE
    return TokenUsage(reported["input_tokens"], reported["output_tokens"], reported["total_tokens"])
