"""An agent that acts on a real receiver over HTTP, in the real kernel, through every way an attempt can end."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.specs import AgentSpec
from app.effects.delivery import post_json
from app.llm.tls import trusted_certificates
from app.llm.usage import ModelRole
from tests.api.harness import Json, problem_of
from tests.api.world import StartWorld, World

PATIENCE = 20


class PostingAgent(BaseAgent):
    """Posts what the task says to where it says, then does some more work that can hang."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        told = json.loads(request.text)

        async with httpx.AsyncClient(trust_env=False, verify=trusted_certificates(), timeout=PATIENCE) as client:

            async def fire(key: str) -> Any:
                return await post_json(client, f"{told['url']}/messages", {"text": "hello"}, key=key)

            sent = await tools.effects.perform(
                "send_message", {"text": "hello"}, fire, receiver_deduplicates=told["deduplicates"]
            )
            await client.get(f"{told['url']}/more-work")
        said = "sent earlier" if sent.is_replay else "sent now"
        return AgentOutput(summary=said, raw_output=json.dumps(sent.result))


POSTING = AgentSpec(
    name="PostingAgent",
    agent_type="posting",
    description="Posts messages.",
    examples=("Post hello",),
    model_role=ModelRole.PEER,
    factory="tests.api.test_effects_end_to_end:PostingAgent",
    routable=False,
)


@dataclass
class Receiver:
    """Answers over real sockets. One that deduplicates repeats its first answer for a key it knows."""

    deduplicates: bool
    url: str = ""
    keys: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    work_asked_for: int = 0
    hold_answers: threading.Event = field(default_factory=threading.Event)
    hold_work: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def take(self, key: str) -> tuple[int, Json]:
        self.keys.append(key)
        if not (self.deduplicates and key in self.messages):
            if self.refusals:
                return self.refusals.pop(0), {}
            self.messages.append(key)
        if self.hold_answers.is_set():
            self.released.wait(PATIENCE)
        return 201, {"message": self.messages.index(key) + 1}

    def work(self) -> tuple[int, Json]:
        self.work_asked_for += 1
        if self.hold_work.is_set():
            self.released.wait(PATIENCE)
        return 200, {}


def handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(*receiver.take(self.headers["Idempotency-Key"]))

        def do_GET(self) -> None:
            self._answer(*receiver.work())

        def _answer(self, status: int, body: Json) -> None:
            content = json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                # The worker that asked is dead.
                return

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


@contextmanager
def receiving(*, deduplicates: bool) -> Iterator[Receiver]:
    receiver = Receiver(deduplicates)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(receiver)) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join()


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[World]:
    async with start_world(POSTING, retry_initial_sec=0.02) as started:
        yield started


async def submit(world: World, receiver: Receiver) -> str:
    text = json.dumps({"url": receiver.url, "deduplicates": receiver.deduplicates})
    return await world.api.submit(text, agent="PostingAgent")


async def lose_worker(world: World, task_id: str, *, once: Callable[[], bool]) -> None:
    """An attempt that is cut off at this moment, and what the sweep makes of it."""
    attempt = asyncio.create_task(world.work(task_id))
    async with asyncio.timeout(PATIENCE):
        while not once():  # noqa: ASYNC110 - the receiver lives in other threads
            await asyncio.sleep(0.01)
    await world.lose_worker(task_id, attempt)


async def effects_of(world: World, task_id: str) -> list[Json]:
    effects: list[Json] = (await world.api.get(f"/v1/tasks/{task_id}/effects")).json()["items"]
    return effects


async def test_an_effect_of_a_task_is_listed_with_its_result(world: World) -> None:
    with receiving(deduplicates=False) as receiver:
        task = await world.go_on(await submit(world, receiver))

    (effect,) = await effects_of(world, task["task_id"])
    assert (task["status"], task["result"]["summary"]) == ("completed", "sent now")
    assert (effect["name"], effect["status"], effect["result"]) == ("send_message", "done", {"message": 1})
    assert receiver.keys == [effect["key"]]
    assert task["agent_runs"][0]["tools_used"] == ["send_message"]


async def test_a_worker_lost_between_effect_and_note_repeats_the_request_with_the_same_key(world: World) -> None:
    with receiving(deduplicates=True) as receiver:
        task_id = await submit(world, receiver)
        receiver.hold_answers.set()
        await lose_worker(world, task_id, once=lambda: len(receiver.messages) == 1)
        receiver.hold_answers.clear()

        task = await world.go_on(task_id)

    (effect,) = await effects_of(world, task_id)
    assert task["status"] == "completed"
    assert receiver.keys == [effect["key"]] * 2
    assert len(receiver.messages) == 1
    assert (effect["status"], effect["attempts"], effect["attempt"]) == ("done", 2, 2)


async def test_a_worker_lost_between_note_and_end_of_the_task_repeats_no_request(world: World) -> None:
    with receiving(deduplicates=False) as receiver:
        task_id = await submit(world, receiver)
        receiver.hold_work.set()
        await lose_worker(world, task_id, once=lambda: receiver.work_asked_for == 1)
        receiver.hold_work.clear()

        task = await world.go_on(task_id)

    assert (task["status"], task["result"]["summary"]) == ("completed", "sent earlier")
    assert task["result"]["raw_output"] == '{"message": 1}'
    assert len(receiver.keys) == 1


@pytest.mark.parametrize(("happened", "requests", "said"), [(True, 1, "sent earlier"), (False, 2, "sent now")])
async def test_what_nobody_knows_ends_as_a_dead_letter_until_a_person_has_looked(
    world: World, happened: bool, requests: int, said: str
) -> None:
    with receiving(deduplicates=False) as receiver:
        # given a worker lost after a request that the receiver does not tell from another
        task_id = await submit(world, receiver)
        receiver.hold_answers.set()
        await lose_worker(world, task_id, once=lambda: len(receiver.messages) == 1)
        receiver.hold_answers.clear()
        failed = await world.go_on(task_id)
        (effect,) = await effects_of(world, task_id)
        (letter,) = (await world.api.get("/v1/dead-letters?error_type=EFFECT_UNCERTAIN")).json()["items"]

        # when a person says what became of it and re-drives the task
        resolved = await world.api.post(f"/v1/tasks/{task_id}/effects/{effect['key']}/resolve", {"happened": happened})
        await world.api.post(f"/v1/dead-letters/{task_id}/redrive")
        task = await world.go_on(task_id)

    assert (failed["status"], failed["error"]["type"]) == ("failed", "EFFECT_UNCERTAIN")
    assert effect["key"] in failed["error"]["message"]
    assert (effect["status"], effect["is_uncertain"]) == ("started", True)
    assert (letter["task_id"], letter["agent_type"]) == (task_id, "posting")
    assert resolved.status_code == 200
    assert (task["status"], task["result"]["summary"]) == ("completed", said)
    assert len(receiver.keys) == requests


async def test_a_task_retried_by_hand_after_its_effect_does_not_repeat_it(world: World) -> None:
    with receiving(deduplicates=False) as receiver:
        task_id = await submit(world, receiver)
        receiver.hold_work.set()
        await lose_worker(world, task_id, once=lambda: receiver.work_asked_for == 1)
        receiver.hold_work.clear()
        await world.api.post(f"/v1/tasks/{task_id}/cancel")
        assert (await world.api.post(f"/v1/tasks/{task_id}/retry")).status_code == 202

        task = await world.go_on(task_id)

    assert (task["status"], task["result"]["summary"]) == ("completed", "sent earlier")
    assert len(receiver.keys) == 1


async def test_a_receiver_that_breaks_down_gets_the_same_key_again_by_itself(world: World) -> None:
    with receiving(deduplicates=True) as receiver:
        receiver.refusals = [500, 429]

        task = await world.go_on(await submit(world, receiver))

    assert task["status"] == "completed"
    assert len(receiver.keys) == 3
    assert len(set(receiver.keys)) == 1
    reasons = [entry["error"]["type"] for entry in task["history"] if entry["error"]]
    assert reasons == ["EFFECT_INTERRUPTED", "EFFECT_RECEIVER_BUSY"]


async def test_a_receiver_that_refuses_ends_the_task_and_a_retry_asks_again(world: World) -> None:
    with receiving(deduplicates=False) as receiver:
        receiver.refusals = [422]
        failed = await world.go_on(await submit(world, receiver))
        (refused,) = await effects_of(world, failed["task_id"])
        await world.api.post(f"/v1/tasks/{failed['task_id']}/retry")

        task = await world.go_on(failed["task_id"])

    assert failed["error"] == {"type": "EFFECT_REFUSED", "message": "the receiver answered 422"}
    assert (refused["status"], refused["error"]["type"]) == ("failed", "EFFECT_REFUSED")
    assert task["status"] == "completed"
    assert len(receiver.messages) == 1


async def test_a_running_effect_cannot_be_resolved(world: World) -> None:
    with receiving(deduplicates=False) as receiver:
        task_id = await submit(world, receiver)
        receiver.hold_answers.set()
        work = asyncio.create_task(world.go_on(task_id))
        async with asyncio.timeout(PATIENCE):
            while not receiver.messages:  # noqa: ASYNC110 - the receiver lives in other threads
                await asyncio.sleep(0.01)
        (effect,) = await effects_of(world, task_id)

        refused = await world.api.post(f"/v1/tasks/{task_id}/effects/{effect['key']}/resolve", {"happened": False})
        receiver.released.set()
        task = await work

    problem_of(refused, 409, "EFFECT_NOT_UNCERTAIN")
    assert task["status"] == "completed"
    assert len(receiver.keys) == 1
