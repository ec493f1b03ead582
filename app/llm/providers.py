"""Who answers for a model: the providers and chains that the settings name. Light: no SDK is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from app.llm.circuits import provider_of
from app.llm.usage import ModelRole
from app.model_names import ANTHROPIC, AZURE, OPENAI, ModelRef
from app.model_settings import Endpoint, ModelSettings

OPENAI_URL, ANTHROPIC_URL = "https://api.openai.com/v1", "https://api.anthropic.com"
NO_KEY = SecretStr("none")

# Who serves each role, in the order in which they are asked.
Chains = Mapping[ModelRole, Sequence[ModelRef]]


@dataclass(frozen=True, slots=True)
class Provider:
    """``api_key`` is None where one is missing; ``key_setting`` and ``url_setting`` are what messages tell to check."""

    name: str
    base_url: str
    api_key: SecretStr | None
    key_setting: str
    url_setting: str
    api_version: str | None = None

    @property
    def host(self) -> str:
        """As circuits and messages name it."""
        return provider_of(self.base_url)


def providers_of(settings: ModelSettings) -> dict[str, Provider]:
    """By name; `azure` only when it is configured."""
    found = [
        Provider(
            OPENAI,
            settings.openai_base_url or OPENAI_URL,
            settings.openai_api_key,
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
        ),
        Provider(
            ANTHROPIC,
            settings.anthropic_base_url or ANTHROPIC_URL,
            settings.anthropic_api_key,
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_BASE_URL",
        ),
        *(_named(name, endpoint) for name, endpoint in settings.llm_endpoints.items()),
    ]
    if settings.azure_openai_endpoint:
        found.append(_azure(settings, settings.azure_openai_endpoint))
    return {provider.name: provider for provider in found}


def chains_of(settings: ModelSettings) -> Chains:
    default = settings.llm_peer_model
    return {
        ModelRole.PEER: default,
        ModelRole.CONTENT: settings.llm_content_model,
        ModelRole.CODE: settings.llm_code_model,
        ModelRole.TEXT: settings.llm_text_model or default,
        ModelRole.EVALUATOR: settings.llm_evaluator_model or default,
        ModelRole.MEMORY: settings.llm_memory_model or default,
    }


def models_in(chains: Chains) -> tuple[ModelRef, ...]:
    """Every model that may be asked, each once."""
    return tuple(dict.fromkeys(model for chain in chains.values() for model in chain))


def _named(name: str, endpoint: Endpoint) -> Provider:
    # The SDK insists on a key; a local server ignores it.
    return Provider(name, endpoint.base_url, endpoint.api_key or NO_KEY, "LLM_ENDPOINTS", "LLM_ENDPOINTS")


def _azure(settings: ModelSettings, endpoint: str) -> Provider:
    return Provider(
        AZURE,
        endpoint,
        settings.azure_openai_api_key,
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_ENDPOINT",
        settings.azure_openai_api_version,
    )
