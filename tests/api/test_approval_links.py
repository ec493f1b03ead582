"""Links to approvals, as mails and chats bring them: pages that show what is decided and ask for what is needed."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.api.approving import ANN, BOB, BOSS, DAN, EVE, PUBLISH, asked, key_id, shown, started
from tests.api.conftest import StartApi
from tests.api.hands import Hands
from tests.api.harness import Api, Json, problem_of, running_api


@pytest.fixture
async def hands(start_api: StartApi) -> AsyncIterator[Hands]:
    async for hands in started(start_api):
        yield hands


async def link_of(api: Api, approval: Json, headers: dict[str, str], **body: object) -> httpx.Response:
    return await api.post(
        f"/v1/approvals/{approval['approval_id']}/links", {"decision": "approve", **body}, headers=headers
    )


async def test_a_link_shows_first_and_decides_when_confirmed_and_only_once(hands: Hands) -> None:
    execution_id, approval = await asked(hands)
    issued = await link_of(hands.api, approval, BOSS, approver=key_id(hands.api, ANN))
    path = issued.json()["path"]
    del hands.api.client.headers["X-API-Key"]

    opened = [await hands.api.get(path) for _ in range(2)]
    before = await shown(hands.api, approval)
    confirmed = await hands.api.post(path)
    replayed, seen = await hands.api.post(path), await hands.api.get(path)

    assert all(page.status_code == 200 and '<form method="post">' in page.text for page in opened)
    assert "&lt;b&gt;News" in opened[0].text
    assert "<b>" not in opened[0].text
    assert "script" not in opened[0].headers["content-security-policy"]
    assert opened[0].headers["cache-control"] == "no-store"
    assert before["status"] == "pending"
    assert (confirmed.status_code, replayed.status_code, seen.status_code) == (200, 409, 200)
    assert "<form" not in seen.text
    (decision,) = (await shown(hands.api, approval))["decisions"]
    assert (decision["by"], decision["via"]) == (key_id(hands.api, ANN), key_id(hands.api, BOSS))
    assert (await hands.go_on(execution_id)).status == "completed"


async def test_a_link_outlives_a_restart_of_the_api(hands: Hands) -> None:
    _, approval = await asked(hands)
    path = (await link_of(hands.api, approval, ANN, decision="reject")).json()["path"]

    async with running_api(hands.api.settings) as restarted:
        confirmed = await restarted.post(path)

    assert "rejected now" in confirmed.text
    assert (await shown(hands.api, approval))["status"] == "rejected"


async def test_forged_and_foreign_links_open_nothing(hands: Hands) -> None:
    _, approval = await asked(hands)
    token = (await link_of(hands.api, approval, ANN)).json()["token"]
    event_token = (await hands.api.post(f"/v1/tasks/{await hands.api.submit()}/events/token")).json()["token"]
    head, _, signature = token.rpartition(".")

    for forged in (head, f"{head}.{signature[::-1]}", f"x{token}", token + "x" * 2000, event_token, "%00"):
        for method in ("GET", "POST"):
            # A valid key beside a forged link does not open it.
            answer = await hands.api.client.request(method, f"/v1/approvals/links/{forged}", headers=ANN)
            assert answer.status_code in {401, 404}, forged
    async with running_api(
        hands.api.settings.model_copy(update={"api_keys": hands.api.settings.api_keys[2:]})
    ) as other:
        assert (await other.post(f"/v1/approvals/links/{token}")).status_code == 401

    assert (await shown(hands.api, approval))["version"] == 1


async def test_links_are_made_by_their_approver_or_an_admin_who_did_not_ask(hands: Hands) -> None:
    _, approval = await asked(hands, PUBLISH.replace("quorum: 1", f"approvers: [{key_id(hands.api, ANN)}]"))
    bob = key_id(hands.api, BOB)

    problem_of(await link_of(hands.api, approval, ANN, approver=bob), 403, "FORBIDDEN")
    problem_of(await link_of(hands.api, approval, DAN), 403, "FORBIDDEN")
    problem_of(await link_of(hands.api, approval, BOSS, approver=bob), 403, "FORBIDDEN")
    problem_of(await link_of(hands.api, approval, BOSS, approver=key_id(hands.api, EVE)), 422, "VALIDATION_ERROR")
    problem_of(await link_of(hands.api, approval, EVE), 404, "APPROVAL_NOT_FOUND")
    assert (await link_of(hands.api, approval, ANN)).status_code == 201


async def test_the_page_of_a_link_asks_for_the_fields_of_the_form_and_shows_again_what_does_not_fit(
    hands: Hands,
) -> None:
    fields = "form: {note: {type: string, min_length: 3}, share: {type: integer, maximum: 9, default: 2}}"
    text = PUBLISH.replace("form: {reason: {type: string, default: none}}", fields).replace("form.reason", "form.note")
    execution_id, approval = await asked(hands, text)
    path = (await link_of(hands.api, approval, ANN)).json()["path"]
    rejecting = (await link_of(hands.api, approval, BOB, decision="reject")).json()["path"]
    del hands.api.client.headers["X-API-Key"]

    opened = (await hands.api.get(path)).text
    unfit = [
        await hands.api.post(path, data=typed)
        for typed in (
            {},
            {"form.note": '"><script>x</script>', "form.share": "ten"},
            {"form.note": "fine", "form.share": "10"},
            {"form.note": "fine", "form.other": "1"},
            {"form.note": "fine", "comment": "x" * 10_001},
        )
    ]
    foreign = await hands.api.post(path, json={"form.note": "fine"})
    large = await hands.api.post(path, data={"form.note": "x" * 70_000})
    before = await shown(hands.api, approval)
    given = await hands.api.post(path, data={"form.note": "fïne\r\nso", "form.share": "", "comment": "by mail"})

    assert 'name="form.note" required minlength="3"' in opened
    assert '<input type="number" step="1" name="form.share" max="9" value="2">' in opened
    assert 'name="form.' not in (await hands.api.get(rejecting)).text
    assert [answer.status_code for answer in unfit] == [422] * 5
    assert "share has to be a whole number" in unfit[1].text
    assert "&lt;script&gt;x" in unfit[1].text
    assert "<script" not in unfit[1].text
    assert (foreign.status_code, large.status_code) == (415, 413)
    assert (before["status"], before["version"]) == ("pending", 1)
    assert given.status_code == 200
    (decision,) = (await shown(hands.api, approval))["decisions"]
    assert (decision["form"], decision["comment"]) == ({"note": "fïne\nso", "share": 2}, "by mail")
    assert (await hands.go_on(execution_id)).status == "completed"
