"""Tools that are functions of installed packages."""

import importlib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from app.agents.tools.arguments import ArgumentsCheck, modelled, plain
from app.agents.tools.errors import ToolFailed, ToolNotUsable
from app.agents.tools.models import ToolCall, ToolDescription, ToolSpec
from app.agents.tools.tool import Tool
from app.errors import OrchestratorError

log = structlog.get_logger(__name__)
Function = Callable[[Any, ToolCall], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class FunctionTool(Tool):
    spec: ToolSpec
    function: Function
    schema: ArgumentsCheck

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        given = plain(self.name, arguments)
        if self.spec.input_model is not None:
            return modelled(self.name, given, self.spec.input_model).model_dump(mode="json")
        self.schema.check(given)
        return given

    async def prepare(self) -> None:
        """A function is always there."""

    async def run(self, arguments: dict[str, Any], call: ToolCall) -> Any:
        model = self.spec.input_model
        try:
            return await self.function(arguments if model is None else model.model_validate(arguments), call)
        except OrchestratorError:
            raise
        except Exception as error:  # the edge to foreign code, whose texts may hold anything
            log.warning("tool.crashed", tool=self.name, exc_info=error)
            raise ToolFailed(f"{self.name} failed ({type(error).__name__})") from error


class FunctionTools:
    """Imports every function at once: at the start of a worker nobody waits for it yet."""

    def __init__(self, specs: Iterable[ToolSpec]) -> None:
        self._tools: dict[str, Tool] = {}
        self._broken: dict[str, ToolNotUsable] = {}
        for spec in specs:
            try:
                self._tools[spec.name] = load_function(spec)
            except ToolNotUsable as error:
                log.warning("tool.broken", tool=spec.name, reason=error.message)
                self._broken[spec.name] = error

    async def get_tool(self, name: str) -> Tool:
        if name in self._broken:
            raise ToolNotUsable(self._broken[name].message)
        if name not in self._tools:
            raise ToolNotUsable(f"no installed package brings the tool {name!r}")
        return self._tools[name]

    async def close(self) -> None:
        """Functions hold nothing."""


def load_function(spec: ToolSpec) -> FunctionTool:
    """Raises `ToolNotUsable`, also for whatever the package's code raises."""
    schema = input_schema_of(spec)
    described = ToolDescription(spec.name, spec.description, schema, spec.side_effect)
    check = ArgumentsCheck(spec.name, schema, trusted=True)
    return FunctionTool(described, spec.timeout, spec.receiver_deduplicates, spec, _function_of(spec), check)


def input_schema_of(spec: ToolSpec) -> Mapping[str, Any]:
    if spec.input_model is not None:
        return spec.input_model.model_json_schema()
    return spec.input_schema or {"type": "object", "additionalProperties": False}


def _function_of(spec: ToolSpec) -> Function:
    module, _, attribute = spec.factory.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # the edge to foreign code: importing it runs it
        raise ToolNotUsable(f"{spec.name}: cannot import {spec.factory!r} ({type(error).__name__})") from error
    if not inspect.iscoroutinefunction(function):
        raise ToolNotUsable(f"{spec.name}: {spec.factory!r} is not an async function")
    return function  # type: ignore[no-any-return]
