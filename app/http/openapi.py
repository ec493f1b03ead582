"""What the generated OpenAPI document needs beyond the routes: errors, examples, security, stable names."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.http.problems import PROBLEM_JSON, TYPE_PREFIX, Problem

Responses = dict[int | str, dict[str, Any]]

TAGS: list[dict[str, Any]] = [
    {"name": "Tasks", "description": "Natural-language tasks: submit, follow, steer."},
    {"name": "Artifacts", "description": "Files: upload them, and get any by its SHA-256."},
    {"name": "Workflows", "description": "What agents do together: store, version, validate."},
    {"name": "Evaluations", "description": "Work scored before it runs: feasible, aligned, risky, costly?"},
    {"name": "Approvals", "description": "What people are asked to approve: read, decide, delegate."},
    {"name": "Sessions", "description": "Conversations: what was said, what is remembered."},
    {"name": "Agents", "description": "Who does the tasks: what each agent takes and gives."},
    {"name": "Evaluators", "description": "What installed packages can check an output for."},
    {"name": "Dead letters", "description": "Tasks that failed for good: read, re-drive."},
    {"name": "Budgets", "description": "Hard limits on what tenants, agents and sessions consume."},
    {"name": "Policies", "description": "Rules that allow, deny or hold tasks, steps and calls of tools."},
    {"name": "Legal holds", "description": "What must be kept, whatever its age: place, release, list."},
    {"name": "Audit", "description": "Who did what: append-only, chained, to be verified by anybody."},
    {"name": "Logs", "description": "What workers and agents elsewhere logged: send, search."},
    {"name": "System", "description": "Metrics and health."},
]
_REF = "#/components/schemas/"
_UNUSED = ("HTTPValidationError", "ValidationError")
_SECURITY_SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}


@dataclass(frozen=True, slots=True)
class _Example:
    code: str
    title: str
    message: str
    details: Any = None
    headers: tuple[tuple[str, str], ...] = ()


_RETRY_AFTER = ("Retry-After", "Seconds until another try can succeed.")
_FIELD = [{"field": "task", "message": "Field required", "type": "missing", "location": "body"}]
_EXAMPLES = {
    400: _Example("BAD_REQUEST", "Bad Request", "the request cannot be understood"),
    401: _Example(
        "UNAUTHENTICATED",
        "Authentication needed",
        "send a valid key as X-API-Key or Authorization: Bearer",
        headers=(("WWW-Authenticate", "The scheme to use."),),
    ),
    403: _Example("FORBIDDEN", "Not permitted", "a viewer may read only"),
    404: _Example("TASK_NOT_FOUND", "Not found", "no task with this id"),
    405: _Example(
        "METHOD_NOT_ALLOWED", "Method Not Allowed", "this path answers GET", headers=(("Allow", "What it answers."),)
    ),
    408: _Example("REQUEST_TIMEOUT", "Body not received in time", "the request body did not arrive in time"),
    409: _Example("TASK_ALREADY_FINISHED", "Conflict", "the task is finished already"),
    411: _Example("LENGTH_REQUIRED", "Length required", "say with Content-Length how many bytes there are"),
    412: _Example("WORKFLOW_CHANGED", "Workflow changed", "the workflow has another version than If-Match says"),
    413: _Example("PAYLOAD_TOO_LARGE", "Body too large", "the body has more than 262144 bytes", {"max_bytes": 262144}),
    415: _Example("UNSUPPORTED_MEDIA_TYPE", "Unsupported media type", "send JSON with Content-Type: application/json"),
    422: _Example("VALIDATION_ERROR", "Invalid request", "task: Field required", _FIELD),
    428: _Example("PRECONDITION_REQUIRED", "If-Match required", "say what you have seen: If-Match with the ETag"),
    429: _Example(
        "RATE_LIMIT_EXCEEDED",
        "Too many requests",
        "more than 600 requests in a minute; try again in 12 s",
        headers=(
            _RETRY_AFTER,
            ("RateLimit", '`"default";r=0;t=12`: nothing remains for 12 s.'),
            ("RateLimit-Policy", '`"default";q=600;w=60`: 600 requests in 60 s.'),
        ),
    ),
    500: _Example("INTERNAL", "Internal error", "something went wrong on our side; tell us the request_id"),
    503: _Example(
        "SERVICE_UNAVAILABLE",
        "Service unavailable",
        "the store does not answer; try again in a moment",
        headers=(_RETRY_AFTER,),
    ),
}
_ALWAYS = (401, 405, 429, 500)


def responses(*statuses: int) -> Responses:
    """For ``responses=`` of a route: these errors, and those every route can answer with."""
    return {status: _response(status, _EXAMPLES[status]) for status in sorted({*statuses, *_ALWAYS})}


def writing(*statuses: int) -> Responses:
    """`responses` of a route that changes something and so takes a body and needs a role."""
    return responses(403, 413, 415, 422, 503, *statuses)


def _response(status: int, example: _Example) -> dict[str, Any]:
    problem = {
        "type": TYPE_PREFIX + example.code,
        "title": example.title,
        "status": status,
        "detail": example.message,
        "instance": "/v1/tasks",
        "error": {"code": example.code, "message": example.message, "details": example.details},
        "request_id": "0b0f4a7e-28a5-4a30-b2d6-1a1e0b3d0d7a",
    }
    content = {PROBLEM_JSON: {"schema": {"$ref": _REF + "Problem"}, "example": problem}}
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in example.headers}
    return {"description": example.title, "content": content} | ({"headers": headers} if headers else {})


def operation_id(route: APIRoute) -> str:
    """The function's name, for ``generate_unique_id_function``: generated clients get readable methods."""
    return route.name


def install_openapi(app: FastAPI, *, public_paths: Iterable[str]) -> None:
    """Complete the document at its first use. Everything but ``public_paths`` needs a key."""
    open_paths = frozenset(public_paths)

    def document() -> dict[str, Any]:
        schema: dict[str, Any] = app.openapi_schema or _completed(app, open_paths)
        app.openapi_schema = schema
        return schema

    app.openapi = document  # type: ignore[method-assign]


def _completed(app: FastAPI, public_paths: frozenset[str]) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags or TAGS,
        servers=app.servers,
    )
    components = schema.setdefault("components", {})
    components["securitySchemes"] = _SECURITY_SCHEMES
    components["schemas"] = _schemas(components.get("schemas", {}))
    schema["security"] = [{name: []} for name in _SECURITY_SCHEMES]
    for path, operations in schema.get("paths", {}).items():
        for operation in operations.values():
            _complete(operation, is_public=path in public_paths)
    return schema


def _schemas(generated: dict[str, Any]) -> dict[str, Any]:
    problem = Problem.model_json_schema(ref_template=_REF + "{model}")
    ours: dict[str, Any] = problem.pop("$defs") | {"Problem": problem}
    return {name: generated[name] for name in generated if name not in _UNUSED} | ours


def _complete(operation: dict[str, Any], *, is_public: bool) -> None:
    # FastAPI describes its own form of 422, which no client of ours ever gets.
    known = operation.get("responses", {})
    if PROBLEM_JSON not in known.get("422", {"content": {PROBLEM_JSON: {}}}).get("content", {}):
        known["422"] = _response(422, _EXAMPLES[422])
    if is_public:
        operation["security"] = []


def take_routes(app: FastAPI, router: APIRouter) -> None:
    """Serve the routes of a router as they are.

    `include_router` would make a copy of each, with its models, at the first request of every process.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            route.unique_id = operation_id(route)
    app.router.routes.extend(router.routes)
