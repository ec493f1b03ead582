"""`orchestrate validate`, `schema` and `workflows`: check documents; store, list, show and delete them on a server."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask, print_page
from app.cli.exit_codes import ExitCode
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.server import Json
from app.cli.terminal import clean, err, out, print_json
from app.cli.workflow_files import validate_file
from app.cli.workflow_upload import store_document, validate_document
from app.workflows.language.json_schema import workflow_schema

app = typer.Typer(no_args_is_help=True, help="Store, list, show and delete workflows on a server.")

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A workflow document, or library:NAME.")]
Reference = Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name or id.")]

_ROW = "{:32} {:11} {:20} {}"


def validate(
    file: FileArgument,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", help="Ask this server, which knows its own agents and workflows, and not this machine."
        ),
    ] = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a workflow is valid, or everything that is wrong in it with line, column and fix."""
    if server is None:
        found = validate_file(file)
    else:
        found = ask(Address(server, api_key), lambda asked: validate_document(asked, file))
    if as_json:
        print_json(out, found)
    elif found.get("valid"):
        out.print(Text(clean(f"{file} is valid: {found.get('name')}, {found.get('digest')}")))
    else:
        _print_problems(file, found.get("problems") or [])
    if not found.get("valid"):
        raise typer.Exit(ExitCode.USAGE)


def schema() -> None:
    """Print the JSON Schema of workflow documents, for editors."""
    print_json(out, workflow_schema())


@app.command()
def put(
    file: FileArgument,
    expect: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Only when this is the current version so far.")
    ] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store a document as the current version of the workflow that it names, with the files that it calls."""
    stored = ask(Address(server, api_key, data_dir), lambda asked: store_document(asked, file, expected=expect))
    if as_json:
        print_json(out, stored)
    else:
        out.print(Text(clean(f"{stored.get('name')} is stored: {stored.get('digest')}")))


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List workflows, newest first."""
    page = ask(Address(server, api_key, data_dir), lambda asked: asked.get("workflows", page_size=limit))
    print_page(page, _print_workflows, as_json=as_json)


@app.command()
def show(
    reference: Reference,
    version: Annotated[str | None, typer.Option(metavar="DIGEST", help="Default: the current version.")] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Print the document as it was stored, and nothing else.")
    ] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a workflow: what it takes and gives, its steps and its versions."""
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.get("workflows", reference, version=version))
    if as_json:
        print_json(out, found)
    elif source:
        out.print(Text(clean(found.get("source_text"))), end="")
    else:
        _print_workflow(found)


@app.command()
def delete(
    reference: Reference,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete a workflow; those that call it keep the version that they were stored with."""
    ask(Address(server, api_key, data_dir), lambda asked: asked.delete("workflows", reference))
    out.print(Text(clean(f"{reference} is deleted")))


def _print_problems(file: str, problems: Iterable[Json]) -> None:
    for one in problems:
        place = f"{one.get('source') or file}:{one.get('line')}:{one.get('column')}: {one.get('path')}: "
        fix = f": {one['fix']}" if one.get("fix") else ""
        err.print(Text.assemble((clean(place), "bold"), clean(one.get("message")), clean(fix)))


def _print_workflows(console: Console, items: Iterable[Json]) -> None:
    console.print(Text(_ROW.format("workflow", "changed", "version", "description"), style="bold"))
    for item in items:
        summary = " ".join(clean(item.get("summary") or "").split())
        changed = clean(item.get("updated_at") or "-")[5:16].replace("T", " ")
        row = Text(_ROW.format(clean(item.get("name")), changed, _short(item.get("digest")), summary))
        row.truncate(console.width if console.is_terminal else 200, overflow="ellipsis")
        console.print(row)


def _print_workflow(found: Json) -> None:
    out.print(Text(clean(f"{found.get('name')} {found.get('digest')}"), style="bold"))
    if found.get("description"):
        out.print(Text(clean(found["description"]).rstrip()))
    for label, members in (("inputs", found.get("inputs")), ("outputs", found.get("outputs"))):
        out.print(Text(f"{label + ':':9} {_members(members or {})}"))
    _print_steps(found.get("graph") or {})
    for one in found.get("versions") or ():
        current = " current" if one.get("current") else ""
        out.print(Text(clean(f"version:  {_short(one.get('digest'))} {one.get('created_at')}{current}"), style="dim"))


def _print_steps(graph: Json) -> None:
    needs: dict[str, list[str]] = {}
    for edge in graph.get("edges") or ():
        needs.setdefault(edge["to"], []).append(edge["from"].rpartition(".")[2])
    for node in graph.get("nodes") or ():
        depth = str(node.get("id")).count(".")
        after = f" after {', '.join(needs[node['id']])}" if node["id"] in needs else ""
        target = f" {node['target']}" if node.get("target") else ""
        out.print(Text(clean(f"{'  ' * depth}- {node.get('name')}: {node.get('kind')}{target}{after}")))


def _members(schema: Json) -> str:
    names = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    return clean(", ".join(name if name in required else f"[{name}]" for name in names)) or "none"


def _short(digest: object) -> str:
    return clean(digest)[:19]
