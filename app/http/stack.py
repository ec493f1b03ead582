"""The layers every request passes, from the outside in."""

import re
from collections.abc import Callable, Mapping

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app.http.body_limit import NO_DOCUMENTS, NO_STREAMS, BodyLimit, Documents
from app.http.client_address import ClientAddresses
from app.http.problems import ProblemEdge, install_problem_handlers
from app.http.rate_limit import RateLimit, RateLimiter
from app.http.request_context import RequestContext
from app.observability.metrics import Metrics
from app.settings import Settings

_EXPOSED = [
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
]
_PREFLIGHT_SECONDS = 600


def install_http(
    app: FastAPI,
    settings: Settings,
    *,
    metrics: Metrics,
    limiter: RateLimiter,
    addresses: ClientAddresses,
    authentication: Callable[[ASGIApp], ASGIApp],
    documents: Mapping[str, Documents] = NO_DOCUMENTS,
    streams: re.Pattern[str] = NO_STREAMS,
) -> None:
    """Wrap ``app``: context, CORS, errors, authentication, rate limit, body limit.

    Errors are answered inside of CORS, so that browsers may read them; bodies are read last, so that nobody
    without a key can make us read or parse one.
    """
    install_problem_handlers(app)
    layers = [
        Middleware(RequestContext, metrics=metrics),
        *_cors(settings),
        Middleware(ProblemEdge),
        Middleware(authentication),
        Middleware(RateLimit, limiter=limiter, addresses=addresses),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes, documents=documents, streams=streams),
    ]
    for layer in reversed(layers):
        app.add_middleware(layer.cls, *layer.args, **layer.kwargs)


def _cors(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
            max_age=_PREFLIGHT_SECONDS,
        )
    ]
