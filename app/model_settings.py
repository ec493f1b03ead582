"""The settings of the language models, a part of `app.settings.Settings`."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode

from app.model_names import AZURE, BUILT_IN, ModelRef, is_provider_name, parse_model
from app.setting_types import HttpUrl, JsonObject

MOST_IN_A_CHAIN = 8
_DEFAULT = ModelRef("openai", "gpt-4o-mini")


def _split_chain(value: Any) -> Any:
    """``a,b`` as a list; anything else as it is."""
    return [entry for entry in value.split(",") if entry.strip()] if isinstance(value, str) else value


def _parsed(value: Any) -> Any:
    return parse_model(value) if isinstance(value, str) else value


class Endpoint(BaseModel):
    """One entry of LLM_ENDPOINTS: something that speaks OpenAI's protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: HttpUrl
    api_key: SecretStr | None = None


class RateAllowance(BaseModel):
    """One entry of LLM_RATE_LIMITS: what the provider allows in a minute; None is without limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None


class ModelPrice(BaseModel):
    """One entry of LLM_PRICES, in US dollars per million tokens. Cached tokens are input unless they have a price."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_per_million: Decimal = Field(ge=0)
    output_per_million: Decimal = Field(ge=0)
    cached_input_per_million: Decimal | None = Field(None, ge=0)


Model = Annotated[ModelRef, BeforeValidator(_parsed), PlainSerializer(str)]
ModelChain = Annotated[
    tuple[Model, ...], NoDecode, BeforeValidator(_split_chain), Field(min_length=1, max_length=MOST_IN_A_CHAIN)
]
Endpoints = Annotated[Mapping[str, Endpoint], NoDecode, JsonObject]
RateAllowances = Annotated[Mapping[Model, RateAllowance], NoDecode, JsonObject]
ModelPrices = Annotated[Mapping[Model, ModelPrice], NoDecode, JsonObject]


class ModelSettings(BaseSettings):
    # --- models
    openai_api_key: SecretStr | None = Field(
        None, description="Key of the provider `openai`. Without one `orchestrate up` starts the simulator."
    )
    openai_base_url: HttpUrl | None = Field(
        None, description="OpenAI-compatible endpoint (gateway, local model, simulator). Default: OpenAI."
    )
    anthropic_api_key: SecretStr | None = Field(None, description="Key of the provider `anthropic`.")
    anthropic_base_url: HttpUrl | None = Field(
        None, description="Endpoint that speaks Anthropic's protocol, without `/v1`. Default: Anthropic."
    )
    azure_openai_api_key: SecretStr | None = Field(None, description="Key of the provider `azure` (Azure OpenAI).")
    azure_openai_endpoint: HttpUrl | None = Field(
        None, description="The Azure resource, as in `https://name.openai.azure.com`. Its models are deployments."
    )
    azure_openai_api_version: str | None = Field(
        None, max_length=40, description="Version of Azure's API, as in `2025-04-01-preview`."
    )
    llm_endpoints: Endpoints = Field(
        {},
        description='More OpenAI-compatible providers by name, as JSON: `{"local": {"base_url": '
        '"http://127.0.0.1:11434/v1", "api_key": "optional"}}`.',
    )
    llm_peer_model: ModelChain = Field(
        (_DEFAULT,),
        description="Model that routes tasks: `model` or `provider:model`; after commas, those asked when it fails.",
    )
    llm_content_model: ModelChain = Field((_DEFAULT,), description="Models of the ContentAgent, in the same way.")
    llm_code_model: ModelChain = Field((_DEFAULT,), description="Models of the CodeAgent.")
    llm_text_model: ModelChain | None = Field(
        None, description="Models of the text agent. Default: those of LLM_PEER_MODEL."
    )
    llm_evaluator_model: ModelChain | None = Field(
        None, description="Models that judge answers. Default: those of LLM_PEER_MODEL."
    )
    llm_memory_model: ModelChain | None = Field(
        None, description="Models that summarise sessions. Default: those of LLM_PEER_MODEL."
    )
    llm_timeout_sec: float = Field(60.0, gt=0, le=600, description="Longest wait for one model call.")
    llm_max_tokens: int = Field(2048, ge=16, le=128_000, description="Most tokens one answer may have.")
    stream_tokens: bool = Field(
        True, description="Ask for texts in pieces and publish them as `token` events while they come; needs REDIS_URL."
    )
    llm_rate_limits: RateAllowances = Field(
        {},
        description='What providers allow, shared by all workers, as JSON: `{"openai:gpt-4o": {"requests_per_minute": '
        '500, "tokens_per_minute": 30000}}`.',
    )
    llm_prices: ModelPrices = Field(
        {},
        description='US dollars of models that the price list does not know or has wrong, as JSON: `{"local:llama": '
        '{"input_per_million": 0, "output_per_million": 0}}`.',
    )

    @model_validator(mode="after")
    def _models_have_providers(self) -> Self:
        for name in self.llm_endpoints:
            if not is_provider_name(name) or name in BUILT_IN:
                raise ValueError(f"LLM_ENDPOINTS: name endpoints in lower case, and none of them {', '.join(BUILT_IN)}")
        for variable, model in self._named_models():
            self._check_provider(variable, model.provider)
        return self

    def _named_models(self) -> list[tuple[str, ModelRef]]:
        chains = ("llm_peer_model", "llm_content_model", "llm_code_model")
        optional = ("llm_text_model", "llm_evaluator_model", "llm_memory_model")
        keyed = ("llm_rate_limits", "llm_prices")
        names = (*chains, *optional, *keyed)
        return [(name.upper(), model) for name in names for model in getattr(self, name) or ()]

    def _check_provider(self, variable: str, provider: str) -> None:
        known = (*BUILT_IN, *self.llm_endpoints)
        if provider not in known:
            raise ValueError(
                f"{variable}: there is no provider {provider!r}, only {', '.join(known)}; name it in LLM_ENDPOINTS, or "
                "write `openai:name:tag` for a model with a colon in its name"
            )
        if provider == AZURE and not (self.azure_openai_endpoint and self.azure_openai_api_version):
            raise ValueError(
                f"{variable} names a model of azure: set AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_VERSION"
            )
