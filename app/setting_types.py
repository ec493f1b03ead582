"""Kinds of values that settings have and the standard library does not."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt
from pydantic_settings import NoDecode


def _split_pairs(value: Any) -> Any:
    """``a=1,b=2`` as a mapping; anything else as it is."""
    if not isinstance(value, str):
        return value
    pairs = [entry.partition("=") for entry in value.split(",") if entry.strip()]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise ValueError("write `name=number` entries with commas between them, for instance `acme=3,*=1`")
    return {name.strip(): number.strip() for name, _, number in pairs}


def _checked_location(value: str) -> str:
    parts = urlsplit(value)
    if "://" in value and parts.scheme not in {"s3", "file"}:
        raise ValueError("write a folder, file:///folder or s3://bucket/prefix")
    if parts.scheme == "s3" and not parts.netloc:
        raise ValueError("write the bucket's name: s3://bucket/prefix")
    if parts.scheme == "file" and parts.netloc:
        raise ValueError("write three slashes before the path: file:///folder")
    return value


def checked_http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("write a URL that begins with http:// or https://")
    return value.rstrip("/")


def _parse_json_object(value: Any) -> Any:
    """Text as the JSON it is; anything else as it is. The text is never repeated: it may hold keys."""
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise ValueError('write a JSON object, for instance {"name": {"…": "…"}}')
    return parsed


def _split_names(value: Any) -> Any:
    """``a,b`` as a set of distributions in the form that package tools compare; None is all of them."""
    if not isinstance(value, str):
        return value
    names = {re.sub(r"[-_.]+", "-", name.strip()).lower() for name in value.split(",") if name.strip()}
    if names & {"all", "none"} and len(names) > 1:
        raise ValueError("write `all`, `none` or the names of installed packages with commas between them")
    return None if names == {"all"} else frozenset(names - {"none"})


def _split_words(value: Any) -> Any:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


HttpUrl = Annotated[str, AfterValidator(checked_http_url)]
QueueName = Literal["agent_tasks", "task_evaluations", "workflow_steps"]
QueueNames = Annotated[tuple[QueueName, ...], NoDecode, BeforeValidator(_split_words), Field(min_length=1)]
PluginNames = Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_split_names)]
JsonObject = BeforeValidator(_parse_json_object)
Weights = Annotated[Mapping[str, PositiveFloat], NoDecode, BeforeValidator(_split_pairs), Field(max_length=10_000)]
Counts = Annotated[Mapping[str, PositiveInt], NoDecode, BeforeValidator(_split_pairs), Field(max_length=10_000)]
ArtifactLocation = Annotated[str, AfterValidator(_checked_location)]
