"""What `orchestrate doctor` asks over HTTP: the model endpoint, the search and the API."""

from urllib.parse import urlsplit

import httpx

from app.cli.check import Check, fail, ok, warn
from app.devstack.stack import SIMULATOR_KEY
from app.settings import SearchProvider, Settings

OPENAI, TAVILY = "https://api.openai.com/v1", "https://api.tavily.com"
_SECONDS = 4.0


async def check_model(settings: Settings) -> Check:
    """Whether the key opens the endpoint: the list of models costs nothing."""
    if settings.openai_api_key is None and settings.openai_base_url is None:
        return warn(
            "model", "no OPENAI_API_KEY: `orchestrate up` uses the simulator", "set OPENAI_API_KEY for real answers"
        )
    base = settings.openai_base_url or OPENAI
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    answer = await _get(f"{base}/models", key)
    if isinstance(answer, str):
        return fail("model", f"{base}: {answer}", "correct OPENAI_BASE_URL, or look at the network and the provider")
    return _judged_model(base, answer.status_code, simulated=key == SIMULATOR_KEY)


def _judged_model(base: str, status: int, *, simulated: bool) -> Check:
    if status in {401, 403}:
        return fail(
            "model", f"{base} refused the key (HTTP {status})", "check OPENAI_API_KEY: wrong, expired or revoked"
        )
    if status == 429:
        return warn("model", f"{base} limits the rate or the quota is used up", "look at the provider's billing page")
    if status >= 400:
        return warn("model", f"{base}/models answers HTTP {status}", "see that OPENAI_BASE_URL ends as it should (/v1)")
    return ok("model", f"{base} answers{' (SIMULATOR)' if simulated else ''}")


async def check_search(settings: Settings) -> Check:
    if settings.web_search_provider is SearchProvider.NONE:
        return ok("search", "turned off (WEB_SEARCH_PROVIDER=none)")
    if settings.tavily_api_key is None:
        return warn("search", "no TAVILY_API_KEY: content comes without sources", "set TAVILY_API_KEY")
    base = settings.tavily_base_url or TAVILY
    # The account page, because a search would cost a credit; that the simulator has none is an answer too.
    answer = await _get(f"{base}/usage", settings.tavily_api_key.get_secret_value())
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


async def _get(url: str, key: str = "") -> httpx.Response | str:
    """The answer, or in a word why there is none."""
    local = urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, trust_env=not local) as client:
            return await client.get(url, headers=headers)
    except httpx.TimeoutException:
        return "no answer in time"
    except (httpx.TransportError, httpx.InvalidURL, UnicodeEncodeError) as error:
        return type(error).__name__
