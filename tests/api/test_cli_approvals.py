"""`orchestrate approvals` against the API and a worker, and the guide that shows it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.cli.server import Refused
from app.errors import Invalid
from tests.api.approving import PUBLISH, asked
from tests.api.hands import Hands
from tests.api.harness import Json
from tests.api.test_cli_commands import Terminal
from tests.api.world import StartWorld
from tests.architecture.command_line import calls, curl_of
from tests.architecture.markdown import Block, blocks_of

pytestmark = pytest.mark.slow
URL = "http://localhost:8000"


@pytest.fixture
async def hands(start_world: StartWorld) -> AsyncIterator[Hands]:
    async with start_world(over_socket=True) as world:
        hands = Hands(world.api, [world.worker])
        yield hands
        await hands.rest()


@pytest.fixture
def terminal(hands: Hands) -> Terminal:
    return Terminal(hands.api)


async def test_an_approval_is_found_shown_and_given(hands: Hands, terminal: Terminal) -> None:
    execution_id, approval = await asked(hands, PUBLISH.replace("quorum: 1", "approvers: [admin]"))

    rows = (await terminal.prints("approvals", "list", "--mine", "--status", "pending")).splitlines()
    shown = await terminal.prints("approvals", "show", approval["approval_id"])
    old = await terminal.fails("approvals", "approve", approval["approval_id"], "--seen", "7")
    told = await terminal.prints("approvals", "approve", approval["approval_id"], "--seen", "1", "--form", "reason=new")
    late = await terminal.fails("approvals", "reject", approval["approval_id"])

    assert rows[1].split()[:4] == [approval["approval_id"], "pending", "0/1", "anonymous"]
    assert "Publish <b>News</b>?" in shown
    assert "may decide it" in shown
    assert "reason: string  optional" in shown
    assert isinstance(old, Refused)
    assert "APPROVAL_CHANGED" in old.message
    assert told == "it is approved\n"
    assert "APPROVAL_ALREADY_DECIDED" in late.message
    assert (await hands.go_on(execution_id)).status == "completed"


async def test_an_approval_is_rejected_edited_and_delegated_with_reasons_why_not(
    hands: Hands, terminal: Terminal, tmp_path: Path
) -> None:
    _, approval = await asked(hands)
    (tmp_path / "edited.txt").write_text("other words", encoding="utf-8")
    approve = ("approvals", "approve", approval["approval_id"], "--edited")

    assert isinstance(await terminal.fails(*approve, str(tmp_path / "missing.txt")), Invalid)
    assert "no input" in (await terminal.fails(*approve, str(tmp_path / "edited.txt"))).message
    assert "another key" in (await terminal.fails("approvals", "delegate", approval["approval_id"], "nobody")).message
    rejected: Json = await terminal.json("approvals", "reject", approval["approval_id"], "--comment", "no")

    assert (rejected["status"], rejected["decisions"][0]["comment"]) == ("rejected", "no")


async def test_a_link_is_printed_that_opens_the_page(hands: Hands, terminal: Terminal) -> None:
    _, approval = await asked(hands)

    url = (await terminal.prints("approvals", "link", approval["approval_id"], "reject")).strip()

    assert url.startswith(f"{terminal.api.client.base_url}".rstrip("/") + "/v1/approvals/links/")
    assert "Reject: check" in (await hands.api.get(url)).text
    assert "rejected now" in (await hands.api.post(url)).text


def guide(*languages: str) -> list[Block]:
    return [block for block in blocks_of(*languages) if block.page.name == "approve-work.md"]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("offer.yaml").write_text(guide("yaml")[0].text, encoding="utf-8")


@pytest.mark.usefixtures("offer")
async def test_the_guide_does_what_it_says(hands: Hands, terminal: Terminal) -> None:
    shown = [call for block in guide("bash") for call in calls(block.text)]
    stored, started, *rest = [call for call in shown if call.program == "orchestrate"]
    decisions = [curl for call in shown if (curl := curl_of(call))]

    await terminal.prints(*stored.arguments)
    for act in (rest[2], decisions[-1]):
        execution_id = (await terminal.prints(*started.arguments)).strip()
        await hands.go_on(execution_id)
        approval_id = (await terminal.json("approvals", "list"))["items"][0]["approval_id"]
        for call in rest[:2]:
            await terminal.prints(*(word.replace("$ID", approval_id) for word in call.arguments))
        if act is rest[2]:
            await terminal.prints(*(word.replace("$ID", approval_id) for word in rest[2].arguments))
        else:
            path, body = decisions[-1].path.replace("$ID", approval_id), json.loads(decisions[-1].body or "")
            answer = await hands.api.post(path, body, headers={"If-Match": '"1"'})
            assert answer.status_code == 200, answer.text
        assert await hands.outputs(await hands.go_on(execution_id)) == {"discount": 5}
