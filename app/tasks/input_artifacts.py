"""Inputs that name artifacts instead of holding their text.

They are read when the work is accepted, and stored with it like any other input: nothing that is deleted later can
change or stop what was begun.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from app.artifacts.models import FoundArtifact, is_digest
from app.artifacts.service import ArtifactFinder
from app.errors import Invalid
from app.tasks.inputs import LARGEST, check_bounds

MOST = 20


class InputArtifacts:
    def __init__(self, finder: ArtifactFinder) -> None:
        self._finder = finder

    async def read_into(self, tenant_id: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The input with the text of an artifact wherever a member is `{"artifact": "<sha256>"}`.

        Raises `ArtifactNotFound`, and `Invalid` for what is no text or too large, each naming the digest.
        """
        named = {member: value["artifact"] for member, value in inputs.items() if _is_reference(value)}
        if len(named) > MOST:
            raise Invalid(f"the input names {len(named)} artifacts; at most {MOST} are read", field="input")
        found = {member: await self._finder.get(tenant_id, sha256) for member, sha256 in named.items()}
        size = sum(one.size for one in found.values())
        if size > LARGEST:
            raise Invalid(
                f"artifacts {', '.join(named.values())} have {size} bytes; an input has at most {LARGEST}",
                field="input",
            )
        texts = {member: await self._text(member, one) for member, one in found.items()}
        return _checked({**inputs, **texts})

    async def _text(self, member: str, found: FoundArtifact) -> str:
        content = b"".join([piece async for piece in await self._finder.open(found)])
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Invalid(
                f"artifact {found.sha256} is no UTF-8 text (byte {error.start})", field=f"input.{member[:64]}"
            ) from None


async def _input_artifacts(request: Request) -> InputArtifacts:
    inputs: InputArtifacts = request.app.state.input_artifacts
    return inputs


NamedArtifacts = Annotated[InputArtifacts, Depends(_input_artifacts)]


def _is_reference(value: Any) -> bool:
    match value:
        case {"artifact": str(sha256), **others}:
            return not others and is_digest(sha256)
        case _:
            return False


def _checked(inputs: dict[str, Any]) -> dict[str, Any]:
    try:
        return check_bounds(inputs)
    except ValueError as error:
        raise Invalid(str(error), field="input") from None
