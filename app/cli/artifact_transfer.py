"""Sends files as artifacts and saves artifacts as files: in pieces, with their digest checked on this side too."""

import asyncio
import contextlib
import hashlib
import mimetypes
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from app.artifacts.models import LONGEST_NAME, check_digest, check_name
from app.cli.artifact_files import file_name
from app.cli.server import Json, Server
from app.errors import Invalid

PIECE = 1024 * 1024
ANYTHING = "application/octet-stream"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


async def send(server: Server, file: Path, *, name: str | None, media_type: str | None) -> Json:
    """What the server knows of it then. Raises `Invalid` for a file that cannot be read."""
    with _reading(file) as source:
        sha256 = await asyncio.to_thread(lambda: hashlib.file_digest(source, "sha256").hexdigest())
        size = source.tell()
        source.seek(0)
        named = _fitting(file.name) if name is None else name
        check_name(named)
        kind = media_type or mimetypes.guess_type(file.name)[0] or ANYTHING
        path = ("artifacts", sha256)
        return await server.upload(*path, pieces=_pieces(source), size=size, media_type=kind, query={"name": named})


async def save(server: Server, sha256: str, target: Path | None, *, force: bool) -> Path:
    """Where it is then, whole. Raises `Invalid`, also when something else came than what was asked for."""
    check_digest(sha256)
    if target is None:
        target = Path(file_name(str((await server.get("artifacts", sha256, "info")).get("name"))))
    if target.exists() and not force:
        raise _there_already(target)
    with _replacing(target, force=force) as file:
        await _receive(server, sha256, file)
    return target


async def show(server: Server, sha256: str, output: BinaryIO) -> None:
    """Its bytes as they come, and an error afterwards when they were not the right ones."""
    check_digest(sha256)
    await _receive(server, sha256, output)


async def _receive(server: Server, sha256: str, output: BinaryIO) -> None:
    seen = hashlib.sha256()
    async for piece in server.pieces("artifacts", sha256):
        seen.update(piece)
        await asyncio.to_thread(output.write, piece)
    if seen.hexdigest() != sha256:
        raise Invalid(f"{sha256}: what came is not what its digest names; download it again")


async def _pieces(source: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(source.read, PIECE):
        yield piece


def _fitting(name: str) -> str:
    """A file's name as an artifact may have it."""
    return _UNFIT.sub("_", name).lstrip("._-")[:LONGEST_NAME] or "artifact"


def _there_already(target: Path) -> Invalid:
    return Invalid(f"{target} is there already: choose another name with --output, or overwrite it with --force")


@contextmanager
def _reading(file: Path) -> Iterator[BufferedReader]:
    try:
        source = file.open("rb")
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}") from error
    with source:
        yield source


@contextmanager
def _replacing(target: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A file beside the target, which takes its place at the end if nothing was raised."""
    part = target.with_name(f".{target.name[:LONGEST_NAME]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        if force:
            part.replace(target)
        else:
            # Unlike a rename it fails when somebody else was faster.
            os.link(part, target)
    except FileExistsError:
        raise _there_already(target) from None
    except OSError as error:
        raise Invalid(f"{target}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
