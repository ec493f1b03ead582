"""Every route of the application as a request that reaches it, so that a walk over all of them forgets none."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from tests.api.harness import NOBODY

A_SESSION = "a-talk"
A_WORKFLOW = {"version": 1, "name": "a-workflow", "steps": {"say": {"agent": "EchoAgent"}}}
_PARAMETER = re.compile(r"\{([a-z_0-9]+)(?::[a-z]+)?\}")
# Bodies of those routes that need one to get as far as looking for their object.
BODIES: Mapping[tuple[str, str], Any] = {
    ("POST", "/v1/agent/execute"): {"task": "Write a short post."},
    ("POST", "/v1/approvals/{approval_id}/decisions"): {"decision": "approve"},
    ("POST", "/v1/approvals/{approval_id}/delegate"): {"to": "a-key"},
    ("POST", "/v1/approvals/{approval_id}/links"): {"decision": "approve"},
    ("POST", "/v1/evaluations"): {"task": "Write a short post."},
    ("POST", "/v1/executions/{execution_id}/signal"): {"event": "paid"},
    ("POST", "/v1/logs"): [{"at": "2026-11-21T10:00:00Z", "level": "info", "message": "it began"}],
    ("POST", "/v1/tasks/{task_id}/clarify"): {"text": "I mean the post."},
    ("POST", "/v1/tasks/{task_id}/effects/{key}/resolve"): {"happened": True},
    ("POST", "/v1/tasks/{task_id}/review"): {"decision": "accept"},
    ("POST", "/v1/workflows"): A_WORKFLOW,
    ("POST", "/v1/workflows/validate"): A_WORKFLOW,
    ("POST", "/v1/policies/decide"): {"kind": "task"},
    ("POST", "/v1/policies/dry-run"): {"policy": "version: 1"},
    ("POST", "/v1/policies/validate"): {"version": 1},
    ("PUT", "/v1/budgets/{scope}/{owner}"): {"day": {"tokens": 1000}},
    ("PUT", "/v1/artifacts/{sha256}/legal-hold"): {"reason": "a case"},
    ("PUT", "/v1/executions/{execution_id}/legal-hold"): {"reason": "a case"},
    ("PUT", "/v1/policies/current"): {"version": 1},
    ("PUT", "/v1/tasks/{task_id}/legal-hold"): {"reason": "a case"},
}

QUERIES: Mapping[tuple[str, str], str] = {("POST", "/v1/executions/{execution_id}/fork"): "?from=say"}

# Those that take no request without one.
VERSIONED = frozenset({"/v1/approvals/{approval_id}/decisions", "/v1/approvals/{approval_id}/delegate"})


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    template: str

    @property
    def parameters(self) -> list[str]:
        return _PARAMETER.findall(self.template)

    @property
    def body(self) -> Any:
        return BODIES.get((self.method, self.template), {} if self.method in {"POST", "PUT", "PATCH"} else None)

    @property
    def headers(self) -> dict[str, str]:
        return {"If-Match": "*"} if self.template in VERSIONED else {}

    def path(self, values: Mapping[str, str]) -> str:
        """Fails for a parameter nobody gave a value: whoever adds one must say what another tenant's is."""
        query = QUERIES.get((self.method, self.template), "")
        return _PARAMETER.sub(lambda found: values[found[1]], self.template) + query


def values_of(task_id: str, execution_id: str = NOBODY) -> dict[str, str]:
    """A value for every parameter of every route; what belongs to a task or an execution is one it has not."""
    return {
        "task_id": task_id,
        "execution_id": execution_id,
        "approval_id": NOBODY,
        "token": "forged",
        "digest": "sha256:none",
        "path": "say",
        "session_id": A_SESSION,
        "workflow": str(A_WORKFLOW["name"]),
        "agent_name": "EchoAgent",
        "scope": "tenant",
        "owner": "red",
        "key": "9d3c6f0e-7b1a-8c42-a5d1-3f0e6a2b9c11",
        "sha256": "0" * 64,
    }


def calls_of(app: FastAPI) -> list[Call]:
    """From the OpenAPI document, which lists the routes of all included routers, and from the plain routes."""
    documented = {
        Call(method.upper(), path) for path, operations in app.openapi()["paths"].items() for method in operations
    }
    return sorted(documented | set(_plain_routes(app)), key=lambda call: (call.template, call.method))


def _plain_routes(app: FastAPI) -> Iterator[Call]:
    for route in app.routes:
        path, methods = getattr(route, "path", None), getattr(route, "methods", None)
        if path and methods:
            yield from (Call(method, path) for method in methods if method != "HEAD")
