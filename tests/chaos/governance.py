"""People who decide while processes die, and what has to hold of every decision: see `check_governed`."""

import hashlib
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.chaos.client import FINAL, ChaosClient
from tests.chaos.history import Event
from tests.chaos.repeating import Repeating
from tests.chaos.world import World
from tests.processes import NotInTime, until
from tests.scenarios.stack import orchestrate

Json = dict[str, Any]
ASKER, BOSS, PEOPLE = "asker", "boss", ("ann", "bob", "cat", "dan")
SETTINGS = {
    "API_KEYS": ",".join(
        f"key-of-{name}:default:{'admin' if name == BOSS else 'member'}" for name in (ASKER, BOSS, *PEOPLE)
    ),
    "API_RATE_LIMIT_PER_MINUTE": "0",
    "TASK_MAX_ATTEMPTS": "20",
    "RETRY_MAXIMUM_SEC": "1",
}
EXPIRED = {"approve": "approved", "reject": "rejected", "fail": "failed"}


def client_of(world: World, name: str, *, api: int = 0) -> ChaosClient:
    return world.client(api, headers={"X-API-Key": f"key-of-{name}"})


def put_policy(boss: ChaosClient, text: str, *, patience: float = 30.0) -> str:
    """The digest of what holds from now on; asks until there is an answer."""
    ends_at = time.monotonic() + patience
    while time.monotonic() < ends_at:
        try:
            answer = boss.http.put("/v1/policies/current", content=text, headers={"Content-Type": "application/yaml"})
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            return str(answer.json()["digest"])
        assert answer.status_code >= 500, answer.text
    raise NotInTime(f"the policy was not taken within {patience:g} s")


def rule(name: str, decide: str, **approval: Any) -> Json:
    """For tasks whose metadata name it."""
    when = f'has(task.metadata.ask) && task.metadata.ask == "{name}"'
    terms = {"approval": approval} if decide == "require_approval" else {}
    return {"name": name, "applies_to": ["task"], "when": when, "decide": decide, **terms}


def policy(*rules: Json, default: str = "allow") -> str:
    return json.dumps({"version": 1, "default": default, "rules": list(rules)})


@dataclass(frozen=True, slots=True)
class Vote:
    """What somebody sent, and the status of the approval that was answered, if any was."""

    approval_id: str
    by: str
    approves: bool
    sent_at: float
    code: int | None
    status: str | None


class Person(Repeating):
    """Decides whatever is in the inbox, at a whim, and remembers what was said and answered."""

    def __init__(self, name: str, client: ChaosClient, *, seed: int, rejects: float) -> None:
        super().__init__(f"chaos-{name}", pause=0.05)
        self._name = name
        self._http = client.http
        self._dice = random.Random(f"{seed}-{name}")
        self._rejects = rejects
        self._lock = threading.Lock()
        self.votes: list[Vote] = []

    def look(self) -> None:
        try:
            answer = self._http.get("/v1/approvals", params={"mine": "true", "status": "pending", "page_size": 100})
        except httpx.TransportError:
            return
        if answer.status_code == 200:
            inbox = answer.json()["items"]
            self._dice.shuffle(inbox)
            for one in inbox[:5]:
                self.decide(one["approval_id"], one["version"], approves=self._dice.random() >= self._rejects)

    def decide(self, approval_id: str, version: int | None, *, approves: bool) -> Vote:
        """Once, about this version, or about whatever is there now."""
        body = {"decision": "approve" if approves else "reject"}
        headers = {"If-Match": "*" if version is None else f'"{version}"'}
        code, status, sent_at = None, None, time.monotonic()
        try:
            answer = self._http.post(f"/v1/approvals/{approval_id}/decisions", json=body, headers=headers)
        except httpx.TransportError:
            pass
        else:
            code, status = answer.status_code, answer.json().get("status") if answer.status_code == 200 else None
        vote = Vote(approval_id, self._name, approves, sent_at, code, status)
        with self._lock:
            self.votes.append(vote)
        return vote


def check_governed(world: World, asker: ChaosClient, people: Sequence[Person] = ()) -> dict[str, Json]:
    """Raises `AssertionError` with all that is wrong; answers the tasks' documents.

    One outcome per approval, of as many votes as its terms want; tasks that ended as was decided; nothing that ran
    before its approval, after a rejection or under no decision; evidence of each decision, whole; and an audit trail
    that tells of each and verifies.
    """
    # What was cut off behind a decision is done by the upkeep a moment later.
    until(lambda: not world.documents_of("approvals", {"look_at": {"$ne": None}}), "all is recorded", patience=60)
    tasks = world.documents(*asker.accepted)
    approvals = world.documents_of("approvals", {"task_id": {"$in": list(tasks)}})
    votes: dict[str, list[Vote]] = defaultdict(list)
    for vote in (vote for person in people for vote in person.votes):
        votes[vote.approval_id].append(vote)
    found = [
        *(wrong for one in approvals.values() for wrong in wrong_approval(one, votes[one["_id"]])),
        *(wrong for one in tasks.values() for wrong in wrong_end(one, approvals)),
        *(wrong for one in tasks.values() for wrong in wrong_order(one, approvals, votes, world.events(one["_id"]))),
        *(wrong for task_id, one in tasks.items() for wrong in _wrong_evidence(one, asker.http, task_id)),
        *_wrong_trail(world, approvals),
    ]
    assert not found, "\n".join(["governance broken:", *found])
    return tasks


def wrong_approval(approval: Json, votes: Sequence[Vote]) -> Iterator[str]:
    name, quorum = approval["_id"], json.loads(approval["terms"]).get("quorum", 1)
    ends = [one for one in approval["history"] if one["event"] == "expired" or one["detail"].get("is_last")]
    if approval["status"] == "pending":
        yield f"{name}: is pending in the end"
    if len(ends) != 1:
        yield f"{name}: was decided {len(ends)} times"
    by = [one["by"] for one in approval["decisions"]]
    if len(set(by)) != len(by):
        yield f"{name}: somebody voted twice: {by}"
    said = [one["decision"] for one in approval["decisions"]]
    if approval["status"] == "approved" and (said.count("approved") < quorum or "rejected" in said):
        yield f"{name}: approved by {said}, of which {quorum} are needed"
    if approval["status"] == "rejected" and said.count("rejected") != 1:
        yield f"{name}: rejected by {said}"
    told = {vote.status for vote in votes if vote.status not in {None, "pending"}}
    if told - {approval["status"]}:
        yield f"{name}: is {approval['status']}, and people were told {sorted(map(str, told))}"
    if strange := {vote.code for vote in votes if vote.code not in {None, 200, 409, 412, 503}}:
        yield f"{name}: votes were answered with {strange}"


def wrong_end(task: Json, approvals: Mapping[str, Json]) -> Iterator[str]:
    note = task["policy"] or {}
    approval = approvals.get(note.get("approval_id") or "")
    outcome = approval["outcome"] if approval else {"allow": "approved", "deny": "denied"}.get(note.get("effect", ""))
    wanted = {
        "approved": ("completed", None),
        "rejected": ("failed", "APPROVAL_REJECTED"),
        "failed": ("failed", "APPROVAL_EXPIRED"),
        "denied": ("failed", "POLICY_DENIED"),
    }.get(outcome or "")
    ended = (task["status"], (task["error"] or {}).get("type"))
    if task["status"] not in FINAL or ended != wanted:
        yield f"{task['_id']}: decided {outcome}, and ended {ended}"


def wrong_order(
    task: Json, approvals: Mapping[str, Json], votes: Mapping[str, Sequence[Vote]], events: Sequence[Event]
) -> Iterator[str]:
    starts = [event for event in events if event.kind == "start"]
    note = task["policy"]
    if starts and not note:
        yield f"{task['_id']}: ran and nothing was decided"
        return
    approval = approvals.get(note["approval_id"] or "")
    if approval and approval["outcome"] != "approved" and starts:
        yield f"{task['_id']}: ran, though {approval['outcome']}"
    if note["effect"] == "deny" and any(event.attempt == task["attempt"] for event in starts):
        yield f"{task['_id']}: ran in the attempt that was denied"
    if approval and approval["status"] == "approved" and starts:
        quorum = json.loads(approval["terms"]).get("quorum", 1)
        first = {vote.by: vote.sent_at for vote in reversed(votes[approval["_id"]]) if vote.approves}
        before = [sent_at for sent_at in first.values() if sent_at < min(event.at for event in starts)]
        if len(before) < quorum:
            yield f"{task['_id']}: ran before {quorum} had approved"


def _wrong_evidence(task: Json, http: httpx.Client, task_id: str) -> Iterator[str]:
    items = http.get(f"/v1/tasks/{task_id}/artifacts").json()["items"]
    kinds = [one["kind"] for one in items]
    wanted = {"evaluation", "approval"} if task["policy"]["approval_id"] else {"evaluation"}
    if missing := wanted - set(kinds):
        yield f"{task_id}: no evidence of its {sorted(missing)}, only {kinds}"
    for one in items:
        data = http.get(f"/v1/tasks/{task_id}/artifacts/{one['sha256']}")
        if data.status_code != 200 or hashlib.sha256(data.content).hexdigest() != one["sha256"]:
            yield f"{task_id}: {one['name']} cannot be read: {data.status_code}"
        elif one["kind"] == "approval" and data.json()["approval_id"] != task["policy"]["approval_id"]:
            yield f"{task_id}: {one['name']} is of another approval"


def _wrong_trail(world: World, approvals: Mapping[str, Json]) -> Iterator[str]:
    asked = orchestrate("audit", "verify", "--store", "--json", folder=world.folder, **world.settings)
    if asked.returncode != 0:
        yield f"the audit trail is broken: {asked.stdout}{asked.stderr}"
    entries = world.documents_of("audit", {"kind": {"$regex": "^approval\\."}}).values()
    told = {(_approval_of(one), one["kind"].removeprefix("approval."), one["actor"]) for one in entries}
    for name, approval in approvals.items():
        for one in approval["history"]:
            if (name, one["event"], one["by"]) not in told:
                yield f"{name}: {one['event']} by {one['by']} is not in the audit trail"


def _approval_of(entry: Json) -> str:
    return next((one["value"] for one in entry["subject"] if one["name"] == "approval_id"), "")
