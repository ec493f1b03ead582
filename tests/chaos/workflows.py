"""Workflows for the chaos agent, written as documents, and what clients do with their executions."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.chaos.client import EXECUTE, FINAL, PAUSE, Answer, ChaosClient
from tests.chaos.work import AGENT, Step, Work
from tests.processes import NotInTime, until

Json = dict[str, Any]
SAID = "${{ steps.each.output.map(one, one.summary) }}"
ANSWER = {"summary": {"type": "string"}}


def does(*steps: Step, answer: str = "done", only_attempts: tuple[int, ...] = (), **modifiers: Any) -> Json:
    """A step of the chaos agent; ``answer`` may hold templates, and is the `summary` of its output."""
    wanted = Work(steps=steps, only_attempts=only_attempts, answer=answer)
    return {"agent": AGENT, "with": {"task": wanted.text}, "output": ANSWER, **modifiers}


def answer_of(step: str) -> str:
    return "${{ steps." + step + ".output.summary }}"


def workflow(name: str, steps: Mapping[str, Json], **others: Any) -> Json:
    return {"version": 1, "name": name, "steps": dict(steps), **others}


def chain(name: str, number: int, *work: Step) -> Json:
    """Each step answers one letter more than the one before; so do the outputs."""
    steps = {"s1": does(*work, answer="a")}
    for place in range(2, number + 1):
        before = f"s{place - 1}"
        steps[f"s{place}"] = does(*work, answer=answer_of(before) + "a", needs=[before])
    return workflow(name, steps, outputs={"said": answer_of(f"s{number}")})


def fan_out(name: str, number: int, *work: Step, **modifiers: Any) -> Json:
    """One step for each number below ``number``, and their answers, in the order of the numbers."""
    each = {
        "for_each": "${{ inputs.items }}",
        "as": "number",
        **modifiers,
        **does(*work, answer="${{ number }}"),
    }
    spread = {"type": "array", "items": {"type": "integer"}, "default": list(range(number))}
    return workflow(name, {"each": each}, inputs={"items": spread}, outputs={"said": SAID})


class Executions:
    """The executions of one client; like it they may be used by many threads."""

    def __init__(self, client: ChaosClient) -> None:
        self.client = client

    @property
    def accepted(self) -> list[str]:
        found = (one.work_id for one in list(self.client.answers) if one.is_acceptance and one.path != EXECUTE)
        return list(dict.fromkeys(found))

    def store(self, document: Json) -> str:
        """The workflow's name."""
        answer = self.client.post("/v1/workflows", document)
        assert answer.status in {200, 201}, answer
        return str(document["name"])

    def try_begin(self, name: str, *, key: str | None = None, **inputs: Any) -> Answer:
        return self.client.post(f"/v1/workflows/{name}/execute", {"input_data": inputs}, key=key)

    def begin(self, document: Json, **inputs: Any) -> str:
        """Store the workflow, and the id of an accepted execution of it."""
        answer = self.try_begin(self.store(document), **inputs)
        assert answer.status == 202, answer
        return str(answer.body["execution_id"])

    def begin_stubbornly(self, name: str, *, key: str, patience: float = 150.0) -> str:
        """As a good client does it: the same key again until there is an answer."""
        return _stubbornly(lambda: self.try_begin(name, key=key), patience=patience).work_id

    def read(self, execution_id: str) -> Json:
        found = self.client.get(f"/v1/executions/{execution_id}")
        assert found is not None, f"no answer about {execution_id}"
        return found

    def status(self, execution_id: str) -> str | None:
        """None when the API does not answer."""
        found = self.client.get(f"/v1/executions/{execution_id}/status")
        return found["status"] if found else None

    def in_status(self, execution_id: str, *statuses: str, patience: float = 20.0) -> Json:
        def look() -> bool:
            time.sleep(PAUSE)
            return self.status(execution_id) in statuses

        until(look, f"{execution_id} is {' or '.join(statuses)}", patience=patience)
        return self.read(execution_id)

    def final(self, execution_id: str, *, patience: float = 30.0) -> Json:
        return self.in_status(execution_id, *sorted(FINAL), patience=patience)

    def all_final(self, *, patience: float = 60.0) -> list[Json]:
        """Every accepted execution, once all have ended."""
        ends_at = time.monotonic() + patience
        return [self.final(one, patience=max(ends_at - time.monotonic(), 1.0)) for one in self.accepted]

    def steer(self, execution_id: str, verb: str, body: Any = None, *, key: str | None = None) -> Answer:
        """`cancel`, `pause`, `resume`, `signal`, `steps/PATH/approve` …"""
        return self.client.post(f"/v1/executions/{execution_id}/{verb}", body, key=key)

    def steer_stubbornly(
        self, execution_id: str, verb: str, body: Any = None, *, key: str, patience: float = 150.0
    ) -> Answer:
        return _stubbornly(lambda: self.steer(execution_id, verb, body, key=key), patience=patience)

    def steps(self, execution_id: str, *, status: str = "", number: int = 100) -> Sequence[Json]:
        found = self.client.get(f"/v1/executions/{execution_id}/steps?status={status}&page_size={number}")
        return found["items"] if found else []


def _stubbornly(ask: Callable[[], Answer], *, patience: float) -> Answer:
    ends_at = time.monotonic() + patience
    while time.monotonic() < ends_at:
        answer = ask()
        if answer.status == 202:
            return answer
        assert answer.is_unknown or answer.status == 429, answer
        time.sleep(PAUSE)
    raise NotInTime(f"not accepted within {patience:g} s")
