"""What the documentation shows can be typed: commands parse, bodies are accepted, code compiles."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from app.cli.reference.openapi import openapi_page
from tests.architecture.command_line import Call, Curl, calls, curl_of, usage_error
from tests.architecture.markdown import Block, blocks_of
from tests.architecture.tree import ROOT

SHELL = ("bash", "sh", "shell", "console")
JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
    "null": type(None),
}  # fmt: skip


@cache
def _openapi() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(openapi_page())
    return document


def _shown(program: str) -> Iterator[tuple[Block, Call]]:
    for block in blocks_of(*SHELL):
        for call in calls(block.text):
            if call.program == program:
                yield block, call


def _operation(curl: Curl) -> dict[str, Any] | None:
    for template, operations in _openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), curl.path):
            operation: dict[str, Any] | None = operations.get(curl.method.lower())
            return operation
    return None


def _schema_of_body(operation: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return _resolved(schema)


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    found: dict[str, Any] = _openapi()["components"]["schemas"][reference.rsplit("/", 1)[1]] if reference else schema
    return found


def _body_problems(body: Any, schema: dict[str, Any]) -> list[str]:
    if schema.get("type") == "array":
        return [problem for entry in body for problem in _body_problems(entry, _resolved(schema["items"]))]
    properties = schema["properties"]
    return [
        *(f"{name} is missing" for name in schema.get("required", []) if name not in body),
        *(f"there is no {name}" for name in body if name not in properties),
        *(
            f"{name} has the wrong type"
            for name in body
            if name in properties and not _fits(body[name], properties[name])
        ),
    ]


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    choices = schema.get("anyOf", [schema])
    kinds = [JSON_TYPES[kind] for choice in map(_resolved, choices) if (kind := choice.get("type"))]
    return not kinds or any(isinstance(value, kind) for kind in kinds)


def _curl_problems(curl: Curl) -> list[str]:
    operation = _operation(curl)
    if operation is None:
        return [f"there is no {curl.method} {curl.path}"]
    if curl.body is None:
        return []
    if "requestBody" not in operation:
        return ["this operation takes no body"]
    return _body_problems(json.loads(curl.body), _schema_of_body(operation))


def test_every_command_shown_exists_with_its_options() -> None:
    problems = [
        f"{block.place}: orchestrate {' '.join(call.arguments)}: {problem}"
        for block, call in _shown("orchestrate")
        if (problem := usage_error(call.arguments))
    ]

    assert not problems, "\n".join(problems)


def test_every_make_target_shown_exists() -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))

    unknown = [
        f"{block.place}: make {target}"
        for block, call in _shown("make")
        for target in call.arguments
        if "=" not in target and not target.startswith("-") and target not in targets
    ]

    assert not unknown, "\n".join(unknown)


def test_every_request_shown_is_one_the_api_takes() -> None:
    problems = [
        f"{block.place}: {problem}"
        for block, call in _shown("curl")
        if (curl := curl_of(call)) is not None
        for problem in _curl_problems(curl)
    ]

    assert not problems, "\n".join(problems)


def test_the_documentation_shows_commands_and_requests_at_all() -> None:
    assert list(_shown("orchestrate"))
    assert list(_shown("curl"))


def test_every_python_block_compiles() -> None:
    broken: list[str] = []
    for block in blocks_of("python", "py"):
        try:
            compile(block.text, block.place, "exec")
        except SyntaxError as error:
            broken.append(f"{block.place}: {error}")

    assert not broken, "\n".join(broken)


def test_every_json_block_is_json() -> None:
    broken: list[str] = []
    for block in blocks_of("json"):
        try:
            json.loads(block.text)
        except ValueError as error:
            broken.append(f"{block.place}: {error}")

    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "task is missing"),
        ({"task": "hello", "prioritty": 1}, "there is no prioritty"),
        ({"task": 7}, "task has the wrong type"),
    ],
)
def test_a_wrong_body_would_be_found(body: Any, problem: str) -> None:
    curl = Curl("POST", "/v1/agent/execute", json.dumps(body))

    assert _curl_problems(curl) == [problem]


@pytest.mark.parametrize("line", ["orchestrate upp", "orchestrate up --prot 1", "orchestrate tasks show"])
def test_a_wrong_command_would_be_found(line: str) -> None:
    (call,) = calls(line)

    assert usage_error(call.arguments)
