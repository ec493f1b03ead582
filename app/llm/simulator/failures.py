"""Errors as a provider words them: status, body and headers."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

HEADERS = {"x-simulator": "1"}
INVALID, SERVER_ERROR = "invalid_request_error", "server_error"
_QUOTA, _CONTEXT = "quota", "context"
# Status: type and code of the error.
_OF_STATUS: Mapping[int, tuple[str, str | None]] = {
    400: (INVALID, None),
    401: (INVALID, "invalid_api_key"),
    403: (INVALID, "unsupported_country_region_territory"),
    404: (INVALID, "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
_REQUESTS_PER_MINUTE = 500


def failure(
    status: int,
    message: str,
    kind: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error in OpenAI's shape, which Tavily's clients read as well."""
    error = {"message": f"{message} (simulated)", "type": kind, "param": param, "code": code}
    content = {"error": error, "detail": {"error": message}}
    return JSONResponse(content, status, {**HEADERS, **(headers or {})})


def ordered_failure(error: str, *, retry_after: float | None = None, reset_after: float | None = None) -> Response:
    """``error`` is a status, `quota` or `context`; the waits are seconds."""
    if error == _QUOTA:
        return failure(429, "you exceeded your current quota", "insufficient_quota", code="insufficient_quota")
    if error == _CONTEXT:
        return failure(
            400,
            "this model's maximum context length is exceeded",
            INVALID,
            code="context_length_exceeded",
            param="messages",
        )
    status = int(error)
    kind, code = _OF_STATUS.get(status, (SERVER_ERROR if status >= 500 else INVALID, None))
    return failure(status, f"ordered error {status}", kind, code=code, headers=_waits(status, retry_after, reset_after))


def wrong_key() -> Response:
    return failure(401, "incorrect API key provided", INVALID, code="invalid_api_key")


def _waits(status: int, retry_after: float | None, reset_after: float | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    if retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    reset = retry_after if reset_after is None else reset_after
    if status == 429 and reset is not None:
        headers |= _used_up(reset)
    return headers


def _used_up(reset: float) -> dict[str, str]:
    """OpenAI's: of the minute's requests none is left, and when there are some again."""
    return {
        "x-ratelimit-limit-requests": str(_REQUESTS_PER_MINUTE),
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": f"{round(reset * 1000)}ms",
    }
