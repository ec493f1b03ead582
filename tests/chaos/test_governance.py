"""Decisions outlive the death of processes: each is made once, by those who may, and before what it is about."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from app.ids import new_id
from tests.chaos.client import FINAL, ChaosClient
from tests.chaos.conftest import StartWorld
from tests.chaos.failpoints import VARIABLE
from tests.chaos.governance import (
    ASKER,
    BOSS,
    EXPIRED,
    PEOPLE,
    SETTINGS,
    Person,
    check_governed,
    client_of,
    policy,
    put_policy,
    rule,
)
from tests.chaos.nemesis import Nemesis, kill_api, kill_worker, restart_store
from tests.chaos.verdict import Verdict
from tests.chaos.work import effect, sleep, work
from tests.chaos.world import Part, World
from tests.processes import until

YAML = {"Content-Type": "application/yaml"}
# As long as a worker may believe what it has read, and a moment to begin.
HOLDS_WITHIN = 6.0
TWO_OF_FOUR = policy(
    rule("two", "require_approval", quorum=2, approvers=["member"]),
    rule("one", "require_approval", approvers=["member"]),
    rule("never", "deny"),
)


@contextmanager
def deciding(world: World, *, seed: int, rejects: float = 0.15) -> Iterator[list[Person]]:
    """People who decide meanwhile, over all APIs."""
    clients = {name: client_of(world, name, api=place % len(world.apis)) for place, name in enumerate(PEOPLE)}
    with ExitStack() as stack:
        people = (Person(name, client, seed=seed, rejects=rejects) for name, client in clients.items())
        yield [stack.enter_context(person) for person in people]


def submit(asker: ChaosClient, ask: str, number: int) -> str:
    metadata = {"ask": ask, "number": number}
    return asker.submit_stubbornly(work(sleep(0.2), effect("mail")), key=new_id(), patience=120, metadata=metadata)


def in_the_end(asker: ChaosClient, *, patience: float = 120.0) -> dict[str, int]:
    """How many tasks ended in each status."""
    ended = [task["status"] for task in asker.all_final(patience=patience)]
    return {status: ended.count(status) for status in set(ended)}


@pytest.mark.chaos
def test_every_approval_has_one_outcome_and_every_task_ends_by_it_while_workers_and_apis_die(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=3, apis=2, settings=SETTINGS)
    asker = client_of(world, ASKER)
    put_policy(client_of(world, BOSS), TWO_OF_FOUR)
    nemesis = Nemesis(world, {"worker": kill_worker, "api": kill_api})
    asks = ["two", "two", "two", "one", "never", "free"]

    with deciding(world, seed=nemesis.seed) as people, ThreadPoolExecutor(4) as clients:
        submitted = [clients.submit(submit, asker, asks[number % len(asks)], number) for number in range(60)]
        while len(world.documents_of("approvals", {"status": {"$ne": "pending"}})) < 15:
            nemesis.run(seconds=4, pauses=(0.5, 2.0))
        for one in submitted:
            one.result()
        counts = in_the_end(asker)

    tasks = check_governed(world, asker, people)
    assert len(tasks) == 60
    assert counts["completed"] >= 10
    assert counts["failed"] >= 10
    verdict.figure("votes", sum(len(person.votes) for person in people), "for 40 approvals")
    verdict.check(world, asker)
    world.verify()


@pytest.mark.chaos
def test_no_task_runs_under_no_decision_while_the_policy_changes_and_the_store_goes_away(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=2, settings=SETTINGS)
    asker, boss = client_of(world, ASKER), client_of(world, BOSS)
    texts = [policy(rule("some", "deny")), policy(rule("some", "allow"), default="deny")]
    digests = {put_policy(boss, text) for text in texts}
    over = threading.Event()

    def change() -> None:
        while not over.wait(0.3):
            digests.add(put_policy(boss, texts[len(asker.accepted) % 2]))

    with ThreadPoolExecutor(2) as clients:
        changing = clients.submit(change)
        submitting = clients.submit(lambda: [submit(asker, ("some", "other")[n % 2], n) for n in range(60)])
        nemesis = Nemesis(world, {"store": restart_store, "worker": kill_worker})
        nemesis.run(seconds=15)
        submitting.result()
        over.set()
        changing.result()
    in_the_end(asker)
    digests.add(put_policy(boss, policy(default="deny")))
    time.sleep(HOLDS_WITHIN)
    denied = [submit(asker, "some", number) for number in range(20)]
    in_the_end(asker)

    tasks = check_governed(world, asker)
    assert set(nemesis.struck) == {"store", "worker"}
    assert {task["policy"]["effect"] for task in tasks.values()} == {"allow", "deny"}
    assert {task["policy"]["digest"] for task in tasks.values()} <= digests
    assert {tasks[task_id]["policy"]["effect"] for task_id in denied} == {"deny"}
    assert not world.events(*denied, kind="start")
    verdict.check(world, asker)
    world.verify()


@pytest.mark.chaos
def test_approvals_that_expire_while_everything_is_down_come_to_what_their_terms_say(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=2, settings=SETTINGS)
    asker = client_of(world, ASKER)
    expiring = [rule(end, "require_approval", expires_in="12s", on_expiry=end) for end in EXPIRED]
    put_policy(client_of(world, BOSS), policy(rule("open", "require_approval", quorum=2), *expiring))
    asked_at = time.monotonic()
    waiting = {ask: [submit(asker, ask, number) for number in range(3)] for ask in (*EXPIRED, "open")}
    for task_ids in waiting.values():
        for task_id in task_ids:
            asker.in_status(task_id, "awaiting_approval")
    ids = {one["task_id"]: name for name, one in world.documents_of("approvals", {"status": "pending"}).items()}
    ann, bob = (Person(name, client_of(world, name), seed=0, rejects=0) for name in ("ann", "bob"))
    for task_id in waiting["open"]:
        assert ann.decide(ids[task_id], None, approves=True).status == "pending"

    for part in (*world.workers, *world.apis):
        part.kill()
    world.kill_store()
    world.kill_broker()
    time.sleep(max(asked_at + 13 - time.monotonic(), 0))
    world.mend()
    late = [bob.decide(ids[task_id], None, approves=False) for task_id in waiting["reject"]]
    bobs = [bob.decide(ids[task_id], None, approves=True) for task_id in waiting["open"]]
    in_the_end(asker)

    check_governed(world, asker, [ann, bob])
    approvals = world.documents_of("approvals", {})
    for ask, outcome in EXPIRED.items():
        ended = {(approvals[ids[task_id]]["status"], approvals[ids[task_id]]["outcome"]) for task_id in waiting[ask]}
        assert ended == {("expired", outcome)}
    assert {vote.code for vote in late} == {409}
    assert {vote.status for vote in bobs} == {"approved"}
    verdict.check(world, asker)
    world.verify()


@contextmanager
def artifacts_away(folder: Path) -> Iterator[None]:
    """Nothing can be read from it or written to it, by nobody: something else is in its place."""
    hidden = folder.with_name("hidden")
    folder.mkdir(parents=True, exist_ok=True)
    folder.rename(hidden)
    folder.touch()
    yield
    folder.unlink()
    hidden.rename(folder)


@pytest.mark.chaos
def test_nothing_goes_on_without_its_evidence_while_artifacts_cannot_be_kept_and_all_does_afterwards(
    start_world: StartWorld, verdict: Verdict
) -> None:
    folder_of_artifacts = "evidence"
    world = start_world(workers=2, settings={**SETTINGS, "ARTIFACT_STORE": folder_of_artifacts})
    asker = client_of(world, ASKER)
    put_policy(client_of(world, BOSS), TWO_OF_FOUR)
    before = [submit(asker, "two", number) for number in range(10)]
    for task_id in before:
        asker.in_status(task_id, "awaiting_approval")

    with deciding(world, seed=1) as people:
        with artifacts_away(world.folder / folder_of_artifacts):
            meanwhile = [submit(asker, ask, number) for number, ask in enumerate(["two", "one", "never", "free"] * 5)]
            until(lambda: any(vote.code == 503 for one in people for vote in one.votes), "somebody tried to decide")
            Nemesis(world, {"kill": kill_worker}).run(seconds=3)
            started = world.events(*before, *meanwhile, kind="start")
            ended = [one["_id"] for one in world.documents(*before, *meanwhile).values() if one["status"] in FINAL]
            decided = world.documents_of("approvals", {"status": {"$ne": "pending"}})
        in_the_end(asker)

    assert (started, ended, decided) == ([], [], {})
    check_governed(world, asker, people)
    verdict.check(world, asker)
    world.verify()


DEATHS_OF_APIS = ("put_evidence.before", "put_evidence.after", "change_approval.before", "change_approval.after")


@pytest.mark.chaos
def test_a_decision_is_made_once_wherever_the_api_dies_and_the_trail_tells_of_it(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=1, settings=SETTINGS)
    asker = client_of(world, ASKER)
    put_policy(client_of(world, BOSS), TWO_OF_FOUR)
    ann = Person("ann", client_of(world, "ann"), seed=0, rejects=0)
    anns = [ann]

    for death in (*DEATHS_OF_APIS, "record.before", "record.after"):
        task_id = submit(asker, "one", 0)
        asker.in_status(task_id, "awaiting_approval")
        [approval_id] = world.documents_of("approvals", {"task_id": task_id})
        dying, its_ann = start_dying_api(world, death, "ann")
        anns.append(Person("ann", its_ann, seed=0, rejects=0))
        lost = anns[-1].decide(approval_id, None, approves=True)
        dying.wait()
        world.apis.remove(dying)
        assert lost.code is None, death
        again = ann.decide(approval_id, None, approves=True)
        assert again.status == "approved" or again.code == 409, (death, again)
        assert asker.final(task_id)["status"] == "completed", death

    check_governed(world, asker, anns)
    verdict.check(world, asker)


@pytest.mark.chaos
def test_a_policy_that_was_changed_while_the_api_died_is_in_the_trail(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=1, settings=SETTINGS)
    boss = client_of(world, BOSS)
    current = put_policy(boss, TWO_OF_FOUR)
    outcomes: list[list[str | None]] = []

    for death in ("hold_policy.before", "hold_policy.after", "record.before", "record.after"):
        dying, its_boss = start_dying_api(world, death, BOSS)
        with pytest.raises(httpx.TransportError):
            its_boss.http.put("/v1/policies/current", content=policy(rule(death, "deny")), headers=YAML)
        dying.wait()
        world.apis.remove(dying)
        before, current = current, boss.http.get("/v1/policies/current").json()["digest"]
        assert (current == before) == (death == "hold_policy.before"), death
        assert len(world.documents_of("audit_intents", {})) == 1, death

        world.change("audit_intents", {"$set": {"due_at": datetime.now(UTC) - timedelta(minutes=1)}})
        until(lambda: not world.documents_of("audit_intents", {}), "the upkeep has settled it")
        puts = sorted(world.documents_of("audit", {"kind": "policy.put"}).values(), key=lambda one: int(one["seq"]))
        outcomes.append([json.loads(one["detail"]).get("outcome") for one in puts[len(outcomes) + 1 :]])

    assert outcomes == [["unknown"], ["unknown"], ["unknown"], [None]]
    check_governed(world, client_of(world, ASKER))
    verdict.check(world)


def start_dying_api(world: World, death: str, name: str) -> tuple[Part, ChaosClient]:
    """One that knows this key already: the first entry of the trail that it writes then is about what it is asked."""

    def count() -> int:
        return len(world.documents_of("audit", {"kind": "key.used"}))

    before = count()
    part = world.start_api(**{VARIABLE: f"{death}:kill{'@2' if death.startswith('record') else ''}"})
    client = world.client(-1, headers={"X-API-Key": f"key-of-{name}"})
    client.http.get("/v1/policies/current")
    until(lambda: count() > before, "the use of the key is recorded")
    return part, client
