"""What the settings of models accept, what they refuse, and that no key is told in doing so."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.llm.providers import chains_of, models_in, providers_of
from app.llm.usage import ModelRole
from app.model_names import ModelRef, parse_model
from app.observability.redaction import secrets_of
from app.settings import ConfigurationError, Settings, load_settings
from app.tasks.schemas import ModelUse
from tests.architecture.markdown import Block, blocks_of

ENDPOINTS = (
    '{"local": {"base_url": "http://127.0.0.1:11434/v1/"}, "gateway": {"base_url": "https://llm.example.com/v1", \
"api_key": "sk-very-secret"}}'
)


def settings(**given: Any) -> Settings:
    return load_settings(_env_file=None, **given)


@pytest.mark.parametrize(
    ("text", "ref", "name"),
    [
        ("gpt-4o", ModelRef("openai", "gpt-4o"), "gpt-4o"),
        ("openai:gpt-4o", ModelRef("openai", "gpt-4o"), "gpt-4o"),
        (" anthropic:claude-sonnet-5 ", ModelRef("anthropic", "claude-sonnet-5"), "anthropic:claude-sonnet-5"),
        ("local:llama3.2:3b", ModelRef("local", "llama3.2:3b"), "local:llama3.2:3b"),
        ("openai:ft:gpt-4o:mine", ModelRef("openai", "ft:gpt-4o:mine"), "openai:ft:gpt-4o:mine"),
        ("local:meta/llama-3", ModelRef("local", "meta/llama-3"), "local:meta/llama-3"),
    ],
)
def test_a_models_name_is_read_and_read_again_as_it_is_told(text: str, ref: ModelRef, name: str) -> None:
    assert parse_model(text) == ref
    assert str(ref) == name
    assert parse_model(name) == ref


@pytest.mark.parametrize("text", ["", ":", "openai:", ":gpt-4o", "Open AI:x", "a b", "x" * 200, "openai:a\nb"])
def test_what_is_no_models_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="provider:model"):
        parse_model(text)


def test_each_role_has_its_chain_and_those_without_have_the_routers() -> None:
    given = settings(
        llm_endpoints=ENDPOINTS,
        llm_peer_model="gpt-4o-mini, local:llama",
        llm_content_model="anthropic:claude-sonnet-5,gpt-4o",
        llm_memory_model="local:llama",
    )

    chains = chains_of(given)

    told = {role: [str(model) for model in chain] for role, chain in chains.items()}
    assert told[ModelRole.PEER] == told[ModelRole.TEXT] == told[ModelRole.EVALUATOR] == ["gpt-4o-mini", "local:llama"]
    assert told[ModelRole.CONTENT] == ["anthropic:claude-sonnet-5", "gpt-4o"]
    assert told[ModelRole.CODE] == ["gpt-4o-mini"]
    assert told[ModelRole.MEMORY] == ["local:llama"]
    assert len(models_in(chains)) == 4


def test_the_variables_of_the_environment_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_ENDPOINTS", ENDPOINTS)
    monkeypatch.setenv("LLM_CODE_MODEL", "gateway:coder,gpt-4o")
    monkeypatch.setenv("LLM_RATE_LIMITS", '{"gpt-4o": {"requests_per_minute": 500}}')
    monkeypatch.setenv("LLM_PRICES", '{"gateway:coder": {"input_per_million": 0.1, "output_per_million": "0.4"}}')

    given = settings()

    assert given.llm_code_model == (ModelRef("gateway", "coder"), ModelRef("openai", "gpt-4o"))
    assert given.llm_rate_limits[ModelRef("openai", "gpt-4o")].requests_per_minute == 500
    assert given.llm_prices[ModelRef("gateway", "coder")].output_per_million == Decimal("0.4")
    providers = providers_of(given)
    assert list(providers) == ["openai", "anthropic", "local", "gateway"]
    assert providers["local"].base_url == "http://127.0.0.1:11434/v1"
    assert providers["gateway"].host == "llm.example.com"
    assert "sk-very-secret" not in repr(given)
    # The logs are searched for these.
    assert "sk-very-secret" in secrets_of(given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"llm_peer_model": "claude:x"}, "LLM_PEER_MODEL: there is no provider 'claude'"),
        ({"llm_content_model": "llama3:8b"}, "openai:name:tag"),
        ({"llm_code_model": "azure:mine"}, "AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_VERSION"),
        ({"llm_text_model": "a b"}, "LLM_TEXT_MODEL"),
        ({"llm_peer_model": ","}, "LLM_PEER_MODEL"),
        ({"llm_peer_model": ",".join(["gpt-4o"] * 9)}, "LLM_PEER_MODEL"),
        ({"llm_rate_limits": {"nobody:x": {"requests_per_minute": 1}}}, "LLM_RATE_LIMITS: there is no provider"),
        ({"llm_rate_limits": {"gpt-4o": {"requests_per_minute": 0}}}, "LLM_RATE_LIMITS"),
        ({"llm_rate_limits": {"gpt-4o": {"per_day": 1}}}, "LLM_RATE_LIMITS"),
        ({"llm_prices": {"gpt-4o": {"input_per_million": -1, "output_per_million": 1}}}, "LLM_PRICES"),
        ({"llm_endpoints": {"openai": {"base_url": "http://127.0.0.1/v1"}}}, "LLM_ENDPOINTS"),
        ({"llm_endpoints": {"Local": {"base_url": "http://127.0.0.1/v1"}}}, "LLM_ENDPOINTS"),
        ({"llm_endpoints": {"local": {"base_url": "127.0.0.1:1", "api_key": "sk-very-secret"}}}, "LLM_ENDPOINTS"),
        ({"llm_endpoints": '{"local": {"api_key": "sk-very-secret"'}, "LLM_ENDPOINTS: write a JSON object"),
    ],
)
def test_what_is_wrong_is_named_with_its_variable_and_no_key(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(**given)

    assert told in caught.value.message
    assert "sk-very-secret" not in caught.value.message


def shown(language: str) -> list[Block]:
    return [block for block in blocks_of(language) if block.page.name == "choose-models.md"]


@pytest.mark.parametrize("block", shown("dotenv"), ids=lambda block: f"line {block.line}")
def test_every_configuration_of_the_guide_names_models_that_can_be_asked(block: Block, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(block.text, encoding="utf-8")

    given = load_settings(_env_file=file)

    written = [line.partition("=")[0].lower() for line in block.text.splitlines()]
    assert set(written) <= given.model_fields_set
    models = [model for name in written if name.endswith("_model") for model in getattr(given, name)]
    assert all(providers_of(given)[model.provider].api_key for model in models)


def test_the_guide_shows_configurations_and_what_a_run_says() -> None:
    assert len(shown("dotenv")) == 6
    [block] = shown("json")
    for use in json.loads(block.text):
        assert ModelUse.model_validate(use).model_dump() == use
