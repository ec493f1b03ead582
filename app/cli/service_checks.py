"""What `orchestrate doctor` asks over HTTP: the model endpoint, the search and the API."""

from collections.abc import Coroutine, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.cli.check import Check, fail, ok, warn
from app.devstack.stack import SIMULATOR_KEY
from app.llm.providers import Provider, chains_of, models_in, providers_of
from app.model_names import OPENAI
from app.settings import SearchProvider, Settings

TAVILY = "https://api.tavily.com"
# What the SDK sends with every call.
ANTHROPIC_VERSION = "2026-10-21"
_SECONDS = 4.0


def check_models(settings: Settings) -> dict[str, Coroutine[Any, Any, Check]]:
    """A question about each provider whose models may be asked, by the name of its check."""
    providers = providers_of(settings)
    names = dict.fromkeys(model.provider for model in models_in(chains_of(settings)))
    questions = {f"model {name}": check_provider(f"model {name}", providers[name]) for name in names if name != OPENAI}
    return {"model": check_model(settings), **questions} if OPENAI in names else questions


async def check_model(settings: Settings) -> Check:
    """Whether the key opens the endpoint of the provider `openai`."""
    if settings.openai_api_key is None and settings.openai_base_url is None:
        return warn(
            "model", "no OPENAI_API_KEY: `orchestrate up` uses the simulator", "set OPENAI_API_KEY for real answers"
        )
    return await check_provider("model", providers_of(settings)[OPENAI])


async def check_provider(name: str, provider: Provider) -> Check:
    """Whether the key opens the endpoint: the list of models costs nothing."""
    key = provider.api_key.get_secret_value() if provider.api_key else ""
    if not key and provider.name != OPENAI:
        return fail(name, f"{provider.base_url}: no key", f"set {provider.key_setting}")
    url, headers = _list_of_models(provider, key)
    answer = await _get(url, headers)
    if isinstance(answer, str):
        advice = f"correct {provider.url_setting}, or look at the network and the provider"
        return fail(name, f"{provider.base_url}: {answer}", advice)
    return _judged_model(name, provider, answer.status_code, simulated=key == SIMULATOR_KEY)


def _list_of_models(provider: Provider, key: str) -> tuple[str, dict[str, str]]:
    match provider.name:
        case "anthropic":
            return f"{provider.base_url}/v1/models", {**_bearer(key), "anthropic-version": ANTHROPIC_VERSION}
        case "azure":
            return f"{provider.base_url}/openai/models?api-version={provider.api_version}", {"api-key": key}
        case _:
            return f"{provider.base_url}/models", _bearer(key)


def _judged_model(name: str, provider: Provider, status: int, *, simulated: bool) -> Check:
    base = provider.base_url
    if status in {401, 403}:
        advice = f"check {provider.key_setting}: wrong, expired or revoked"
        return fail(name, f"{base} refused the key (HTTP {status})", advice)
    if status == 429:
        return warn(name, f"{base} limits the rate or the quota is used up", "look at the provider's billing page")
    if status >= 400:
        advice = f"see that {provider.url_setting} ends as it should{' (/v1)' if provider.name == OPENAI else ''}"
        return warn(name, f"{base} answers HTTP {status} to the question for its models", advice)
    return ok(name, f"{base} answers{' (SIMULATOR)' if simulated else ''}")


async def check_search(settings: Settings) -> Check:
    if settings.web_search_provider is SearchProvider.NONE:
        return ok("search", "turned off (WEB_SEARCH_PROVIDER=none)")
    if settings.tavily_api_key is None:
        return warn("search", "no TAVILY_API_KEY: content comes without sources", "set TAVILY_API_KEY")
    base = settings.tavily_base_url or TAVILY
    # The account page, because a search would cost a credit; that the simulator has none is an answer too.
    answer = await _get(f"{base}/usage", _bearer(settings.tavily_api_key.get_secret_value()))
    if isinstance(answer, str):
        return fail("search", f"{base}: {answer}", "correct TAVILY_BASE_URL, or turn it off: WEB_SEARCH_PROVIDER=none")
    if answer.status_code in {401, 403}:
        return fail("search", f"{base} refused the key (HTTP {answer.status_code})", "check TAVILY_API_KEY")
    return ok("search", f"{base} answers")


async def check_api(url: str) -> Check:
    answer = await _get(f"{url}/health/ready")
    if isinstance(answer, str):
        return warn("api", f"not running at {url}", "start it with `orchestrate up` or `orchestrate api`")
    if answer.status_code != 200:
        return fail(
            "api", f"{url} is not ready (HTTP {answer.status_code})", f"read {url}/health: it names what is down"
        )
    return ok("api", f"{url} is ready")


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


async def _get(url: str, headers: Mapping[str, str] | None = None) -> httpx.Response | str:
    """The answer, or in a word why there is none."""
    local = urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, trust_env=not local) as client:
            return await client.get(url, headers=headers)
    except httpx.TimeoutException:
        return "no answer in time"
    except (httpx.TransportError, httpx.InvalidURL, UnicodeEncodeError) as error:
        return type(error).__name__
