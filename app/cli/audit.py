"""`orchestrate audit`: show, export and verify the trail of who did what."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask, print_page
from app.cli.audit_verification import Chain, verify_file, verify_server, verify_store
from app.cli.exit_codes import ExitCode
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.server import Json
from app.cli.terminal import clean, err, out, print_json
from app.errors import Invalid
from app.governance.audit.entries import Head

app = typer.Typer(no_args_is_help=True, help="Show, export and verify the trail of who did what.")

KindOption = Annotated[str | None, typer.Option(help="Only acts of this kind, for instance budget.put.")]
ActorOption = Annotated[str | None, typer.Option(help="Only acts of this key, by its id.")]
SubjectOption = Annotated[str | None, typer.Option(help="Only acts on this: an id, a name, an address.")]
FromOption = Annotated[str | None, typer.Option("--from", help="Done at or after this time (ISO 8601).")]
ToOption = Annotated[str | None, typer.Option("--to", help="Done before this time (ISO 8601).")]
AnchorOption = Annotated[
    list[str] | None, typer.Option("--anchor", metavar="SEQ:HASH", help="What `audit head` printed earlier.")
]

_ROW = "{:>7}  {:20}  {:22} {:14} {}"


@app.command("list")
def list_(
    kind: KindOption = None,
    actor: ActorOption = None,
    subject: SubjectOption = None,
    since: FromOption = None,
    until: ToOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was done, decided and refused, newest first."""
    filters = _filters(kind, actor, subject, since, until)
    address = Address(server, api_key, data_dir)
    page = ask(address, lambda asked: asked.get("audit", page_size=limit, **filters))
    print_page(page, _print_entries, as_json=as_json)


@app.command()
def head(
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last entry's number and hash. Keep it elsewhere: it is the anchor that `verify` takes."""
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.get("audit", "head"))
    if as_json:
        print_json(out, found)
    else:
        out.print(Text(clean(found.get("anchor"))))


@app.command()
def export(
    kind: KindOption = None,
    actor: ActorOption = None,
    subject: SubjectOption = None,
    since: FromOption = None,
    until: ToOption = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print the entries as JSON Lines in the order of the chain; without a filter `verify` takes them as a file."""
    filters = _filters(kind, actor, subject, since, until)
    asyncio.run(_export(Address(server, api_key, data_dir), filters))


async def _export(address: Address, filters: dict[str, str]) -> None:
    async with address.connect() as asked:
        async for line in asked.lines("audit", "export", **filters):
            out.print(Text(line))


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="An export; else the server is asked.")] = None,
    anchor: AnchorOption = None,
    store: Annotated[
        bool, typer.Option("--store", help="Read the store itself, with no server, and every tenant's trail.")
    ] = False,
    tenant: Annotated[str | None, typer.Option(help="With --store: only this tenant's.")] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that nothing in the trail was changed, removed or inserted, or name the first place where it was."""
    anchors = [Head.parse(text) for text in anchor or ()]
    if file is not None and store:
        raise Invalid("give a file or --store, not both")
    if store and anchors and tenant is None:
        raise Invalid("an anchor is of one tenant: name it with --tenant")
    if tenant is not None and not store:
        raise Invalid("--tenant is for --store; a server shows the trail of the key's own tenant")
    if file is not None:
        chains = [verify_file(file, anchors)]
    elif store:
        chains = asyncio.run(verify_store(data_dir, tenant, anchors))
    else:
        chains = [asyncio.run(verify_server(Address(server, api_key, data_dir), anchors))]
    _print_chains(chains, as_json=as_json)
    if any(chain.broken for chain in chains):
        raise typer.Exit(ExitCode.FAILED)


def _filters(
    kind: str | None, actor: str | None, subject: str | None, since: str | None, until: str | None
) -> dict[str, str]:
    given = {"kind": kind, "actor": actor, "subject": subject, "from": since, "to": until}
    return {name: value for name, value in given.items() if value}


def _print_entries(console: Console, entries: Sequence[Json]) -> None:
    console.print(Text(_ROW.format("seq", "at", "kind", "actor", "subject"), style="bold"))
    for entry in entries:
        at = clean(entry.get("at"))[:19].replace("T", " ")
        told = json.dumps({**_object(entry.get("subject")), **_object(entry.get("detail"))}, ensure_ascii=False)
        cells = (clean(entry.get(name)) for name in ("kind", "actor"))
        console.print(Text(clean(_ROW.format(str(entry.get("seq")), at, *cells, told))))


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _print_chains(chains: Sequence[Chain], *, as_json: bool) -> None:
    if as_json:
        print_json(out, {"ok": not any(chain.broken for chain in chains), "chains": [one.as_json() for one in chains]})
        return
    for chain in chains:
        name = clean(chain.tenant_id or "the trail")
        if chain.broken is None:
            out.print(Text.assemble(("whole  ", "green"), f"{name}: {chain.head.seq} entries, head {chain.head}"))
        else:
            broken = clean(f"{name}: at entry {chain.broken.seq}: {chain.broken.reason}")
            out.print(Text.assemble(("broken ", "bold red"), broken))
    if not chains:
        err.print(Text("no trail is in this store", style="dim"))
