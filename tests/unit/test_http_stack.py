"""All layers together, as the application wires them."""

import io
import json
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from app.errors import Unavailable
from app.http.client_address import ClientAddresses
from app.http.rate_limit import FailedAttempts, RateLimiter
from app.http.stack import install_http
from app.identity.authentication import Authentication, CurrentPrincipal
from app.identity.event_tokens import EventTokens, token_secret
from app.identity.keys import KeyRing
from app.identity.link_tokens import LinkTokens
from app.observability.logging import configure_logging
from app.observability.metrics import Metrics
from app.settings import Settings, load_settings

KEY, VIEWER, PROMPT = "canary-member-key", "canary-viewer-key", "canary prompt of a person"
ORIGIN = "https://dashboard.example.com"


def settings(**overrides: Any) -> Settings:
    keys = f"{KEY}:acme,{VIEWER}:acme:viewer"
    return load_settings(environment="test", api_keys=keys, cors_origins=ORIGIN, max_body_bytes=2048, **overrides)


class Task(BaseModel):
    task: str
    priority: int = 0


def routes() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/tasks")
    async def create_task(task: Task, principal: CurrentPrincipal) -> dict[str, str]:
        return {"tenant": principal.tenant_id}

    @router.post("/broken")
    async def broken(task: Task) -> None:
        raise RuntimeError(f"cannot handle {task.task!r}")

    @router.post("/down")
    async def down(task: Task) -> None:
        raise Unavailable("the store does not answer") from OSError("refused")

    return router


def api(settings: Settings) -> FastAPI:
    app = FastAPI()
    app.include_router(routes())
    limiter = RateLimiter(per_minute=settings.api_rate_limit_per_minute)
    addresses = ClientAddresses(settings.trusted_proxies)
    install_http(
        app,
        settings,
        metrics=Metrics(),
        limiter=limiter,
        addresses=addresses,
        authentication=partial(
            Authentication,
            keyring=KeyRing(settings.api_keys, default_tenant=settings.default_tenant),
            tokens=EventTokens(token_secret(settings)),
            links=LinkTokens(token_secret(settings)),
            on_failure=FailedAttempts(limiter, addresses),
        ),
    )
    return app


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level, handlers, stream = root.level, list(root.handlers), io.StringIO()
    configure_logging(settings(), service="api", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


async def send(
    path: str = "/v1/tasks", *, app: FastAPI | None = None, key: str | None = KEY, method: str = "POST", **options: Any
) -> httpx.Response:
    headers = {"Origin": ORIGIN, **({"X-API-Key": key} if key else {}), **options.pop("headers", {})}
    transport = httpx.ASGITransport(app or api(settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, headers=headers, **options)


REFUSALS = [
    ({"json": {"task": "x"}, "key": None}, 401, "UNAUTHENTICATED"),
    ({"json": {"task": "x"}, "key": "wrong-key-1"}, 401, "UNAUTHENTICATED"),
    ({"json": {"task": "x"}, "key": VIEWER}, 403, "FORBIDDEN"),
    ({"path": "/v1/nowhere"}, 404, "NOT_FOUND"),
    ({"method": "GET"}, 405, "METHOD_NOT_ALLOWED"),
    ({"json": {"task": "x" * 3000}}, 413, "PAYLOAD_TOO_LARGE"),
    ({"content": b"task=x", "headers": {"Content-Type": "text/plain"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "VALIDATION_ERROR"),
    ({"json": {}}, 422, "VALIDATION_ERROR"),
    ({"path": "/v1/broken", "json": {"task": "x"}}, 500, "INTERNAL"),
    ({"path": "/v1/down", "json": {"task": "x"}}, 503, "SERVICE_UNAVAILABLE"),
]


@pytest.mark.parametrize(("request_", "status", "code"), REFUSALS)
async def test_every_refusal_has_one_form_whichever_layer_it_comes_from(
    logged: io.StringIO, request_: dict[str, Any], status: int, code: str
) -> None:
    answer = await send(**request_)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_too_many_requests_are_refused_in_the_same_form(logged: io.StringIO) -> None:
    app = api(settings(api_rate_limit_per_minute=1))
    await send(app=app, json={"task": "x"})

    answer = await send(app=app, json={"task": "x"})

    assert answer.status_code == 429
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "RateLimit-Policy" in answer.headers["access-control-expose-headers"]


async def test_a_good_request_passes_all_layers(logged: io.StringIO) -> None:
    answer = await send(json={"task": "x"}, headers={"X-Request-Id": "r1"})

    line = json.loads(logged.getvalue())
    assert answer.json() == {"tenant": "acme"}
    assert (line["event"], line["endpoint"], line["status_code"]) == ("http.request", "/v1/tasks", 200)
    assert (line["request_id"], line["tenant_id"], len(line["trace_id"])) == ("r1", "acme", 32)


async def test_a_preflight_needs_no_key(logged: io.StringIO) -> None:
    answer = await send(method="OPTIONS", key=None, headers={"Access-Control-Request-Method": "POST"})

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_a_body_is_not_read_before_its_sender_is_known(logged: io.StringIO) -> None:
    answer = await send(key=None, content=b"{", headers={"Content-Type": "application/json"})

    assert answer.status_code == 401


async def test_neither_secrets_nor_prompts_reach_the_log_or_the_answers(logged: io.StringIO) -> None:
    app, task, text = api(settings()), {"task": PROMPT}, {"Content-Type": "application/json"}
    answers = [await send(path, app=app, json=task) for path in ("/v1/tasks", "/v1/broken", "/v1/down")]
    answers.append(await send(app=app, json={**task, "priority": PROMPT}))
    answers.append(await send(app=app, json=[PROMPT]))
    answers.append(await send(app=app, content=f'{{"task": "{PROMPT}"'.encode(), headers=text))
    answers.append(await send(app=app, json={"task": PROMPT * 200}))
    answers.append(await send(app=app, json=task, key="canary-wrong-key"))
    answers.append(await send(f"/v1/tasks?token={KEY}&q={PROMPT}", app=app, json=task))
    answers.append(await send(app=app, json=task, headers={"Authorization": f"Bearer {KEY}", "Cookie": KEY}))

    assert [answer.status_code for answer in answers] == [200, 500, 503, 422, 422, 422, 413, 401, 200, 200]
    assert len(logged.getvalue().splitlines()) == len(answers) + 2
    assert "canary" not in logged.getvalue()
    assert not [answer.text for answer in answers if "canary" in answer.text]
