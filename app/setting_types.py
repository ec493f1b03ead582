"""Kinds of values that settings have and the standard library does not."""

from collections.abc import Mapping
from typing import Annotated, Any
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


Weights = Annotated[Mapping[str, PositiveFloat], NoDecode, BeforeValidator(_split_pairs), Field(max_length=10_000)]
Counts = Annotated[Mapping[str, PositiveInt], NoDecode, BeforeValidator(_split_pairs), Field(max_length=10_000)]
ArtifactLocation = Annotated[str, AfterValidator(_checked_location)]
