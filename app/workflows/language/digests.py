"""What a definition is pinned by. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app.errors import Invalid
from app.workflows.language.models import Workflow

DIGEST = "sha256:"
# No workflow calls as deep, so whatever does was not kept by us.
_DEEPEST = 32


def definition_digest(workflow: Workflow, parts: Mapping[str, str]) -> str:
    """``parts`` are the digests of what it calls, by what its steps call them."""
    # The order of steps decides which failure is the first one, so keys are not sorted. What is not written is left
    # out: a key that a later version of the language brings must not change the digest of what does not use it.
    written = workflow.model_dump(mode="json", by_alias=True, exclude_unset=True)
    canonical = json.dumps({"workflow": written, "parts": parts}, separators=(",", ":"))
    return f"{DIGEST}{hashlib.sha256(canonical.encode()).hexdigest()}"


def kept_digest(kept: Any, depth: int = 0) -> str:
    """Computed anew from a definition as the evidence of a run keeps it: `document`, and `parts` likewise.

    Raises `Invalid` when it is none.
    """
    if depth > _DEEPEST:
        raise Invalid("its sub-workflows are nested too deeply")
    try:
        workflow = Workflow.model_validate(kept["document"], by_alias=True, by_name=False)
        parts = {name: kept_digest(part, depth + 1) for name, part in kept["parts"].items()}
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise Invalid("it is no definition that a run kept") from error
    return definition_digest(workflow, parts)
