"""`orchestrate sessions`: list, show and delete conversations."""

from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask, print_found, print_page
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.rendering import print_session, print_sessions
from app.cli.terminal import clean, out

app = typer.Typer(no_args_is_help=True, help="List, show and delete sessions, which later tasks are told of.")

SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest activity first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the sessions that somebody named or went on with, newest activity first."""
    page = ask(Address(server, api_key, data_dir), lambda asked: asked.get("sessions", page_size=limit))
    print_page(page, print_sessions, as_json=as_json)


@app.command()
def show(
    session_id: SessionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a session's tasks come to, and when it expires."""
    session = ask(Address(server, api_key, data_dir), lambda asked: asked.get("sessions", session_id))
    print_found(session, print_session, as_json=as_json)


@app.command()
def delete(
    session_id: SessionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete a session's messages and memory; its tasks stay, and no later task is told of them."""
    ask(Address(server, api_key, data_dir), lambda asked: asked.delete("sessions", session_id))
    out.print(Text(clean(f"{session_id} is deleted")))
