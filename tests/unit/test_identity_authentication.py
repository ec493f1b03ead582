from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.types import Message, Scope

from app.errors import RateLimited
from app.http.problems import ProblemEdge, install_problem_handlers
from app.identity.authentication import Authentication, CurrentAdministrator, CurrentPrincipal
from app.identity.event_tokens import EventTokens
from app.identity.keys import KeyRing
from app.identity.link_tokens import LinkTokens
from app.observability.context import bound, current_fields
from app.settings import load_settings

MEMBER, VIEWER, ADMIN = "member-key-1", "viewer-key-1", "admin-key-12"
KEYS = f"{MEMBER}:acme,{VIEWER}:acme:viewer,{ADMIN}:acme:admin"
TOKENS = EventTokens("secret-of-the-test")
LINKS = LinkTokens("a secret of this test")
ROUTES = [
    ("GET", "/v1/tasks/t1"),
    ("POST", "/v1/tasks"),
    ("GET", "/v1/tasks/t1/events"),
    ("GET", "/metrics"),
    ("GET", "/v1/admin"),
    ("DELETE", "/v1/tasks/t1"),
    ("BREW", "/v1/tasks"),
    ("GET", "/nowhere"),
    ("GET", "//health"),
    ("GET", "/health/"),
    ("GET", "/docs/../v1/tasks/t1"),
]


class Failures:
    def __init__(self, allowed: int = 1000) -> None:
        self.count = 0
        self.allowed = allowed

    async def __call__(self, _scope: Scope) -> None:
        self.count += 1
        if self.count > self.allowed:
            raise RateLimited("too many")


def api(api_keys: str = KEYS, failures: Failures | None = None) -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/v1")

    @router.get("/tasks/{task_id}")
    @router.get("/tasks/{task_id}/events")
    @router.delete("/tasks/{task_id}")
    @router.post("/tasks")
    async def tasks(principal: CurrentPrincipal) -> dict[str, Any]:
        return {"tenant": principal.tenant_id, "role": principal.role, "logged": current_fields().get("tenant_id")}

    @router.get("/admin")
    async def admin(principal: CurrentAdministrator) -> str:
        return principal.tenant_id

    @app.get("/health")
    @app.get("/metrics")
    async def open_to_all() -> str:
        return "ok"

    keys = KeyRing(load_settings(environment="test", api_keys=api_keys).api_keys, default_tenant="home")
    app.include_router(router)
    install_problem_handlers(app)
    app.add_middleware(Authentication, keyring=keys, tokens=TOKENS, links=LINKS, on_failure=failures or Failures())
    app.add_middleware(ProblemEdge)
    return app


async def ask(
    method: str, path: str, key: str | None = None, *, app: FastAPI | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    presented = {**(headers or {}), **({"X-API-Key": key} if key else {})}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app or api()), base_url="http://test") as client:
        return await client.request(method, path, headers=presented)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("key", [None, "wrong-key-1"])
async def test_without_a_valid_key_everything_not_listed_is_refused(method: str, path: str, key: str | None) -> None:
    answer = await ask(method, path, key)

    assert code_of(answer) == (401, "UNAUTHENTICATED")
    assert "www-authenticate" in answer.headers


@pytest.mark.parametrize("path", ["/health", "/docs", "/openapi.json"])
async def test_probes_and_documentation_are_open(path: str) -> None:
    assert (await ask("GET", path)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"X-API-Key": MEMBER}, {"Authorization": f"Bearer {MEMBER}"}, {"Authorization": f"bearer   {MEMBER}"}],
)
async def test_a_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    answer = await ask("GET", "/v1/tasks/t1", headers=headers)

    assert answer.json() == {"tenant": "acme", "role": "member", "logged": "acme"}


@pytest.mark.parametrize(
    "headers", [{"Authorization": MEMBER}, {"Authorization": f"Basic {MEMBER}"}, {"Cookie": MEMBER}]
)
async def test_other_ways_to_present_a_key_do_not_count(headers: dict[str, str]) -> None:
    assert (await ask("GET", "/v1/tasks/t1", headers=headers)).status_code == 401


async def test_a_wrong_key_beside_a_right_one_is_a_wrong_key() -> None:
    answer = await ask("GET", "/v1/tasks/t1", "wrong-key-1", headers={"Authorization": f"Bearer {MEMBER}"})

    assert answer.status_code == 401


async def test_the_tenant_cannot_be_chosen_by_the_request() -> None:
    answer = await ask("GET", "/v1/tasks/t1?tenant_id=other", MEMBER, headers={"X-Tenant-Id": "other"})

    assert answer.json()["tenant"] == "acme"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW"])
async def test_a_viewer_may_not_write(method: str) -> None:
    answer = await ask(method, "/v1/tasks", VIEWER)

    assert code_of(answer) == (403, "FORBIDDEN")


async def test_a_viewer_may_read_and_only_an_admin_may_administer() -> None:
    assert (await ask("GET", "/v1/tasks/t1", VIEWER)).status_code == 200
    assert code_of(await ask("GET", "/v1/admin", MEMBER)) == (403, "FORBIDDEN")
    assert (await ask("GET", "/v1/admin", ADMIN)).json() == "acme"


async def test_without_configured_keys_everybody_is_let_in() -> None:
    app = api("")

    assert (await ask("POST", "/v1/tasks", app=app)).json() == {"tenant": "home", "role": "admin", "logged": "home"}
    assert (await ask("GET", "/v1/admin", "whatever", app=app)).status_code == 200


async def token_for(task_id: str) -> str:
    return TOKENS.issue(
        (KeyRing(load_settings(api_keys=KEYS).api_keys, default_tenant="x")).authenticate(ADMIN), task_id
    )


async def test_an_event_stream_takes_a_token_and_makes_its_bearer_a_viewer() -> None:
    answer = await ask("GET", f"/v1/tasks/t1/events?token={await token_for('t1')}")

    assert answer.json() == {"tenant": "acme", "role": "viewer", "logged": "acme"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/tasks/t2/events"),
        ("GET", "/v1/tasks/t1"),
        ("POST", "/v1/tasks/t1/events"),
        ("GET", "/v1/admin"),
        ("GET", "/v1/tasks/t1/events/"),
    ],
)
async def test_the_token_opens_nothing_else(method: str, path: str) -> None:
    answer = await ask(method, f"{path}?token={await token_for('t1')}")

    assert answer.status_code == 401


@pytest.mark.parametrize("query", ["token=", "token=x", "token", "token=x&" + "a=1&" * 500, "%ff=%ff&token=%00"])
async def test_a_broken_token_is_refused(query: str) -> None:
    assert (await ask("GET", f"/v1/tasks/t1/events?{query}")).status_code == 401


async def test_every_failure_is_reported_and_too_many_are_refused_as_such() -> None:
    app = api(failures=Failures(allowed=2))

    codes = [(await ask("GET", "/v1/tasks/t1", "wrong-key-1", app=app)).status_code for _ in range(3)]

    assert codes == [401, 401, 429]
    assert (await ask("GET", "/v1/tasks/t1", MEMBER, app=app)).status_code == 200


async def test_a_websocket_is_refused() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await api()({"type": "websocket", "path": "/v1/tasks", "headers": []}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_tenant_is_in_the_context_of_the_request_only() -> None:
    with bound(request_id="r1"):
        await ask("GET", "/v1/tasks/t1", MEMBER)

    assert "tenant_id" not in current_fields()
