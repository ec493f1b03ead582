"""People of two tenants, and a workflow that waits for one of them."""

from collections.abc import AsyncIterator

import httpx

from app.bootstrap.execution import build_execution
from app.identity.keys import KeyRing
from app.identity.principals import Principal
from tests.api.conftest import StartApi
from tests.api.hands import Hands
from tests.api.harness import Api, Json

KEYS = (
    "key-of-dan:red:member,key-of-ann:red:member,key-of-bob:red:member,key-of-boss:red:admin,key-to-watch:red:viewer,"
    "key-of-eve:blue:admin"
)
DAN, ANN, BOB, BOSS, WATCHER, EVE = ({"X-API-Key": entry.split(":")[0]} for entry in KEYS.split(","))
PUBLISH = """
version: 1
name: publish
inputs: {title: {type: string}}
steps:
  check:
    approval:
      message: "Publish ${{ inputs.title }}?"
      quorum: 1
      form: {reason: {type: string, default: none}}
  done: {needs: [check], transform: {said: "${{ steps.check.output.form.reason }}"}}
outputs: {said: "${{ steps.done.output.said }}", by: "${{ steps.check.output.by }}"}
"""


async def started(start_api: StartApi) -> AsyncIterator[Hands]:
    """An API with keys of two tenants, and a worker; Dan starts what others approve."""
    async with start_api(
        api_keys=KEYS, openai_api_key="unused", openai_base_url="http://127.0.0.1:9/v1", web_search_provider="none"
    ) as api:
        worker = await build_execution(api.settings)
        api.client.headers.update(DAN)
        hands = Hands(api, [worker], tenant_id="red")
        yield hands
        await hands.rest()
        await worker.close()


def key_id(api: Api, headers: dict[str, str]) -> str:
    return principal_of(api, headers).key_id


def principal_of(api: Api, headers: dict[str, str]) -> Principal:
    return KeyRing(api.settings.api_keys, default_tenant="red").authenticate(headers["X-API-Key"])


async def asked(hands: Hands, text: str = PUBLISH) -> tuple[str, Json]:
    """An execution that waits for an approval, and that approval as Ann sees it."""
    answer = await hands.api.client.post(
        "/v1/workflows", content=text.encode(), headers={"Content-Type": "application/yaml"}
    )
    name = answer.json()["name"]
    begun = await hands.api.post(f"/v1/workflows/{name}/execute", {"input_data": {"title": "<b>News</b>"}})
    execution_id = str(begun.json()["execution_id"])
    await hands.go_on(execution_id)
    return execution_id, (await hands.api.get("/v1/approvals", headers=ANN)).json()["items"][0]


async def inbox(api: Api, headers: dict[str, str], **params: str) -> list[Json]:
    answer = await api.get("/v1/approvals", params={"mine": "true", **params}, headers=headers)
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


async def decide(
    api: Api,
    approval: Json,
    headers: dict[str, str],
    decision: str = "approve",
    *,
    version: int | None = None,
    **body: object,
) -> httpx.Response:
    etag = f'"{version or approval["version"]}"'
    path = f"/v1/approvals/{approval['approval_id']}/decisions"
    return await api.post(path, {"decision": decision, **body}, headers={**headers, "If-Match": etag})


async def shown(api: Api, approval: Json, headers: dict[str, str] = ANN) -> Json:
    answer = await api.get(f"/v1/approvals/{approval['approval_id']}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    assert answer.headers["etag"] == f'"{found["version"]}"'
    return found
