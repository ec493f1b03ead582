"""Agents write while workers and the API die: every text once, every stream whole, no finished call made again."""

from collections.abc import Iterable
from itertools import groupby, pairwise

import pytest

from tests.chaos.client import EXECUTE, ChaosClient, Json
from tests.chaos.conftest import StartWorld
from tests.chaos.nemesis import Nemesis, kill_api, kill_worker
from tests.chaos.provider import Provider, repeats
from tests.chaos.streams import Follower, Told, following
from tests.chaos.test_streams import check_streams
from tests.chaos.verdict import Verdict
from tests.processes import until
from tests.scenarios.stack import reasons

# A text comes in some hundred pieces, so most kills hit it in its middle.
SLOWLY = "[[sim role=writer pace=0.05]] [[sim role=coder pace=0.05]]"
TEXTS = {
    "ContentAgent": "Write a short article about the benefits of renewable energy, number {number}.",
    "CodeAgent": "Write a Python function that adds {number}.",
}
SETTINGS = {"TASK_MAX_ATTEMPTS": "20", "RETRY_MAXIMUM_SEC": "1"}


def submit(client: ChaosClient, agent: str, number: int, **body: object) -> str:
    text = f"{TEXTS[agent].format(number=number)} {SLOWLY}"
    answer = client.post(EXECUTE, {"task": text, "agent": agent, **body})
    assert answer.status == 202, answer
    return answer.task_id


def lost_attempts(documents: Iterable[Json]) -> int:
    return sum(reasons(document).count("worker_lost") for document in documents)


def check_live(follower: Follower, document: Json) -> None:
    """Places only grow; an attempt that follows another says so first; what is missing is said to be missing."""
    places = [one.place for one in follower.told]
    assert all(earlier < later for earlier, later in pairwise(places)), places
    claims = [seq for seq, reason in enumerate(reasons(document), start=1) if reason == "claimed"]
    for seq, group in groupby(follower.live, key=lambda one: one.place.seq):
        said = list(group)
        assert seq in claims
        assert all(is_next(earlier, later) for earlier, later in pairwise(said)), said
        assert is_gap(said[0]) or said[0].place.number == 1
        assert is_gap(said[0]) or (said[0].data.get("phase") == "restarted") == (seq != claims[0]), said[0]


def is_next(earlier: Told, later: Told) -> bool:
    return is_gap(later) or later.place == earlier.place.next


def is_gap(one: Told) -> bool:
    return bool(one.data.get("gap"))


def is_whole(follower: Follower, document: Json) -> bool:
    """Nothing of the last attempt was lost, and a program that was written in it is the result."""
    ends = [one for one in follower.live if one.name == "run" and one.data["phase"] == "finished"]
    if not ends or ends[-1].data["status"] != "completed" or any(is_gap(one) for one in follower.live):
        return False
    text = last_text(follower).strip()
    return document["agent_type"] != "code" or text in {"", document["result"]["raw_output"].strip()}


def last_text(follower: Follower) -> str:
    """What a client shows that drops everything when an attempt begins again."""
    text = ""
    for one in follower.live:
        text = "" if one.data.get("phase") == "restarted" else text + one.data.get("text", "")
    return text


@pytest.mark.chaos
def test_texts_come_once_and_streams_go_on_while_workers_and_the_api_die(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=3, simulator=True, settings=SETTINGS)
    client, provider = world.client(), Provider(world)
    task_ids = [submit(client, agent, number) for number in range(12) for agent in TEXTS]

    with following(client, task_ids) as followers:
        until(lambda: all(one.live for one in followers), "every client is told what happens")
        Nemesis(world, {"kill": kill_worker, "api": kill_api}).run(seconds=15)
    ended = client.all_final(patience=60)

    documents = world.documents(*task_ids)
    assert {task["status"] for task in ended} == {"completed"}, [task["error"] for task in ended]
    check_streams(world, followers)
    for follower in followers:
        check_live(follower, documents[follower.task_id])
    # They may be lost while Redis is late, as on a machine that is much too busy.
    whole = sum(is_whole(follower, documents[follower.task_id]) for follower in followers)
    assert whole >= 0.8 * len(followers)
    # Each death may have come between an answer and its checkpoint, never before an earlier one.
    assert repeats(provider.calls()) <= lost_attempts(documents.values())
    verdict.figure("streams with every token", whole, f"of {len(followers)}")
    verdict.figure("attempts lost", lost_attempts(documents.values()), f"of {len(task_ids)} tasks")
    verdict.figure("model calls repeated", repeats(provider.calls()), f"of {len(provider.calls())}")
    verdict.check(world, client)
