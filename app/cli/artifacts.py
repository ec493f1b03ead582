"""`orchestrate artifacts`: upload files, download any artifact by its digest; list, hold and delete uploads."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.cli.address import Address
from app.cli.artifact_transfer import save, send, show
from app.cli.asking import ask, print_found, print_page
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.server import Json
from app.cli.terminal import clean, err, out

app = typer.Typer(no_args_is_help=True, help="Upload files, download any artifact by its digest.")

Digest = Annotated[str, typer.Argument(metavar="SHA256", help="The artifact's digest.")]
STDOUT = Path("-")
_ROW = "{:64}  {:>12}  {:16}  {}"
_FACTS = (
    "kind", "name", "media_type", "size", "created_at", "created_by", "expires_at", "task_id", "execution_id", "step",
    "attempt",
)  # fmt: skip


@app.command()
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to upload.")],
    name: Annotated[str | None, typer.Option(help="What it is called; default: the file's name, made fit.")] = None,
    media_type: Annotated[
        str | None, typer.Option("--type", help="Its media type; default: what its ending says.")
    ] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload a file. The same file again is kept once."""
    address = Address(server, api_key, data_dir)
    kept = ask(address, lambda asked: send(asked, file, name=name, media_type=media_type))
    print_found(kept, _print_digest, as_json=as_json)


@app.command()
def get(
    sha256: Digest,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; `-`: stdout. Default: its name.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Download any artifact of your tenant, checked against its digest."""

    async def download() -> Path | None:
        async with Address(server, api_key, data_dir).connect() as asked:
            if output != STDOUT:
                return await save(asked, sha256, output, force=force)
            await show(asked, sha256, sys.stdout.buffer)
            return None

    if saved := asyncio.run(download()):
        out.print(Text(clean(saved)))


@app.command("list")
def list_uploads(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was uploaded, newest first."""
    page = ask(Address(server, api_key, data_dir), lambda asked: asked.get("artifacts", page_size=limit))
    print_page(page, _print_rows, as_json=as_json)


@app.command()
def info(
    sha256: Digest,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an artifact is, what it belongs to and how long it is kept."""
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.get("artifacts", sha256, "info"))
    print_found(found, _print_facts, as_json=as_json)


@app.command()
def delete(
    sha256: Digest, server: ServerOption = None, api_key: KeyOption = None, data_dir: DataDirOption = None
) -> None:
    """Delete an upload."""
    ask(Address(server, api_key, data_dir), lambda asked: asked.delete("artifacts", sha256))
    err.print(Text(clean(f"{sha256} is deleted"), style="dim"))


@app.command()
def hold(
    sha256: Digest,
    reason: Annotated[str, typer.Option(help="Why it must be kept; shown with it.")],
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep an upload, however old it gets, until it is released. Admins only."""
    body = {"reason": reason}
    ask(Address(server, api_key, data_dir), lambda asked: asked.put("artifacts", sha256, "legal-hold", body=body))
    err.print(Text(clean(f"{sha256} is held"), style="dim"))


@app.command()
def release(
    sha256: Digest, server: ServerOption = None, api_key: KeyOption = None, data_dir: DataDirOption = None
) -> None:
    """Take the legal hold off an upload. Admins only."""
    ask(Address(server, api_key, data_dir), lambda asked: asked.delete("artifacts", sha256, "legal-hold"))
    err.print(Text(clean(f"{sha256} is released"), style="dim"))


def _print_digest(console: Console, kept: Json) -> None:
    console.print(Text(clean(kept.get("sha256"))))


def _print_rows(console: Console, items: Sequence[Json]) -> None:
    console.print(Text(_ROW.format("sha256", "bytes", "uploaded", "name"), style="bold"))
    for item in items:
        at = clean(item.get("created_at"))[:16].replace("T", " ")
        held = " (held)" if item.get("legal_hold") else ""
        cells = (clean(item.get("sha256")), clean(item.get("size")), at, clean(item.get("name")) + held)
        console.print(Text(_ROW.format(*cells)))


def _print_facts(console: Console, found: Json) -> None:
    for name in _FACTS:
        if found.get(name) is not None:
            console.print(Text(clean(f"{name}: {found[name]}")))
    if hold := found.get("legal_hold"):
        console.print(Text(clean(f"legal_hold: {hold.get('reason')}, by {hold.get('placed_by')}")))
