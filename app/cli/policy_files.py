"""Policies as the command line names them: files."""

from dataclasses import asdict
from pathlib import Path

from app.cli.server import Json
from app.errors import Invalid
from app.governance.policy.loading import LIMITS, PolicyInvalid, load_policy

_JSON_SUFFIX = ".json"


def read_bytes(path: Path) -> bytes:
    """Up to one byte more than is allowed, so that what is too large is seen. Raises `Invalid`."""
    try:
        with path.open("rb") as file:
            return file.read(LIMITS.size + 1)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error


def read_text(path: Path) -> str:
    """Raises `Invalid` for a file that cannot be read, or is no text."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: it is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def media_type_of(path: Path) -> str:
    return "application/json" if path.suffix == _JSON_SUFFIX else "application/yaml"


def validate_policy_file(path: Path) -> Json:
    """As a server answers it."""
    try:
        policy = load_policy(read_bytes(path), source=str(path))
    except PolicyInvalid as error:
        return {"valid": False, "digest": None, "problems": [asdict(problem) for problem in error.problems]}
    return {"valid": True, "digest": policy.digest, "problems": []}
