"""Lists the artifacts of tasks and executions, and saves them as files."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.server import Json
from app.cli.terminal import clean, err, out, print_json
from app.errors import Invalid

SaveOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Download them into this folder; nothing is overwritten.")
]


def show_artifacts(
    address: Address, owner: Sequence[str], found: Json, save: Path | None, *, as_json: bool, none: str
) -> None:
    """``owner`` is the path of the task or execution that they belong to, ``none`` what is said without any."""
    items = found.get("items") or ()
    if save is not None:
        _save(items, asyncio.run(_download(address, owner, items)), save)
    if as_json:
        print_json(out, found)
    elif not items:
        err.print(Text(none, style="dim"))
    else:
        _print(items, save)


def _print(items: Iterable[Json], save: Path | None) -> None:
    for artifact in items:
        place = str(save / _file_name(artifact)) if save is not None else artifact.get("name")
        out.print(Text(clean(f"{place} - {artifact.get('size')} bytes, {artifact.get('sha256')}")))


async def _download(address: Address, owner: Sequence[str], items: Iterable[Json]) -> list[bytes]:
    async with address.connect() as server:
        return [await server.download(*owner, "artifacts", str(artifact.get("sha256"))) for artifact in items]


def _save(items: Iterable[Json], contents: Iterable[bytes], folder: Path) -> None:
    for artifact, content in zip(items, contents, strict=True):
        path = folder / _file_name(artifact)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
        except OSError as error:
            raise Invalid(f"--save: {path}: {error.strerror}") from error


def _file_name(artifact: Json) -> str:
    """Its name without any folder, whatever the server says."""
    return Path(str(artifact.get("name"))).name or "artifact"
