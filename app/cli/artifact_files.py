"""Lists the artifacts of tasks and executions, and saves them as files."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath
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
    items = [{**one, "file": name} for one, name in _named(found.get("items") or ())]
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
        place = str(save / artifact["file"]) if save is not None else artifact["file"]
        out.print(Text(clean(f"{place} - {artifact.get('size')} bytes, {artifact.get('sha256')}")))


async def _download(address: Address, owner: Sequence[str], items: Iterable[Json]) -> list[bytes]:
    async with address.connect() as server:
        return [_checked(one, await server.download(*owner, "artifacts", str(one.get("sha256")))) for one in items]


def _checked(artifact: Json, content: bytes) -> bytes:
    if hashlib.sha256(content).hexdigest() != artifact.get("sha256"):
        raise Invalid(f"{artifact['file']}: what came is not what its digest names; download it again")
    return content


def _save(items: Iterable[Json], contents: Iterable[bytes], folder: Path) -> None:
    for artifact, content in zip(items, contents, strict=True):
        path = folder / artifact["file"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
        except OSError as error:
            raise Invalid(f"--save: {path}: {error.strerror}") from error


def _named(items: Iterable[Json]) -> Iterator[tuple[Json, str]]:
    """Each with the name of a file that no other of them has: evidence of steps is called alike in all of them."""
    taken: set[str] = set()
    for one in items:
        wanted, step = str(one.get("name")), one.get("path")
        if step is not None and one.get("kind", "output") != "output":
            wanted = f"{step}.{wanted}"
        name = file_name(wanted)
        if name in taken and step is not None:
            name = file_name(f"{step}.{one.get('series')}.{one.get('name')}")
        taken.add(name)
        yield one, name


def file_name(name: str) -> str:
    """Without any folder, whatever the server says."""
    return "".join(one if one.isprintable() else "_" for one in PureWindowsPath(name).name).strip(". ") or "artifact"
