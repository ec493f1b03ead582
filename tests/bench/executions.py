"""Workflows that do nothing, and a look at their executions where they are stored."""

import http.client
import json
import time
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from pymongo import MongoClient

from app.devstack.probes import LOOPBACK
from app.jobs.models import FINAL, Status
from app.settings import Settings
from app.workflows.executions.models import EXECUTIONS, STEPS
from tests.bench.client import post
from tests.bench.process import BenchFailed

PATIENCE = 120.0
LOOK_PAUSE = 0.05
NOT_FINAL = tuple(status for status in Status if status not in FINAL)
CREATED = 201
CHAIN, FAN_OUT = "bench-chain", "bench-fan-out"
_NO_OP: Mapping[str, object] = {"agent": "EchoAgent", "with": {"task": "ping"}}


def chain_of(length: int) -> dict[str, Any]:
    """A workflow of steps one after the other."""
    steps = {f"s{n}": {**_NO_OP, **({"needs": [f"s{n - 1}"]} if n else {})} for n in range(length)}
    return {"version": 1, "name": CHAIN, "steps": steps}


def fan_out() -> dict[str, Any]:
    """A workflow of a step for each item of its input, and one that joins them."""
    return {
        "version": 1,
        "name": FAN_OUT,
        "inputs": {"items": {"type": "array", "items": {"type": "integer"}}},
        "steps": {
            "each": {"for_each": "${{ inputs.items }}", **_NO_OP},
            "join": {"needs": ["each"], "transform": {"joined": "${{ size(steps.each.output) }}"}},
        },
        "outputs": {"joined": "${{ steps.join.output.joined }}"},
    }


def store_workflow(port: int, workflow: Mapping[str, Any]) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    connection.request("POST", "/v1/workflows", json.dumps(workflow), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read().decode(errors="replace")
    connection.close()
    if answer.status != CREATED:
        raise BenchFailed(f"the workflow {workflow['name']} was not stored ({answer.status}): {body[:300]}")


def execution_of(workflow: str, inputs: Mapping[str, object], *, wait: bool = False) -> bytes:
    """The request that begins one."""
    return post(f"/v1/workflows/{workflow}/execute", {"input_data": inputs}, wait=wait)


class ExecutionStore:
    """Looks at executions where they are stored, so that watching them costs the API and the worker nothing."""

    def __init__(self, port: int) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(LOOPBACK, port, directConnection=True, tz_aware=True)
        database = self._client[str(Settings.model_fields["mongo_db_name"].default)]
        self._executions, self._steps = database[EXECUTIONS], database[STEPS]

    def await_end(self, *, since: datetime) -> float:
        """Seconds from then to the end of the last execution; raises `BenchFailed` when one did not complete."""
        until = time.monotonic() + PATIENCE
        while self._has_open():
            if time.monotonic() > until:
                raise BenchFailed(f"executions begun since {since} did not end in time")
            time.sleep(LOOK_PAUSE)
        found = list(self._executions.find({"created_at": {"$gte": since}}, {"status": 1, "completed_at": 1}))
        if any(one["status"] != Status.COMPLETED.value for one in found):
            raise BenchFailed(f"an execution begun since {since} did not complete")
        return float((max(one["completed_at"] for one in found) - since).total_seconds())

    def _has_open(self) -> bool:
        # Each of them by an index: a scan would cost the store what is measured.
        return any(self._executions.find_one({"status": status.value}, {"_id": 1}) for status in NOT_FINAL)

    def gaps(self, *, since: datetime) -> list[float]:
        """Seconds from the end of the work of a step to the beginning of the next one's, of chains."""
        spans: dict[str, list[tuple[datetime, datetime]]] = {}
        for step in self._steps.find({"created_at": {"$gte": since}}, {"execution_id": 1, "attempts": 1}):
            of_execution = spans.setdefault(step["execution_id"], [])
            of_execution += [(attempt["started_at"], attempt["finished_at"]) for attempt in step["attempts"]]
        pairs = [pair for of_execution in spans.values() for pair in pairwise(sorted(of_execution))]
        return [(began - ended).total_seconds() for (_, ended), (began, _) in pairs]

    def close(self) -> None:
        self._client.close()
