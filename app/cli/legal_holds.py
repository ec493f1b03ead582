"""`orchestrate legal-holds`: what must be kept however old it gets; place a hold, release one."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask, print_page
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.server import Json
from app.cli.terminal import clean, out, print_json

app = typer.Typer(no_args_is_help=True, help="List, place and release legal holds: what is held is never deleted.")

_ROW = "{:9}  {:36}  {:16}  {:14}  {}"


class Kind(StrEnum):
    TASK = "task"
    EXECUTION = "execution"
    ARTIFACT = "artifact"

    @property
    def path(self) -> str:
        return f"{self.value}s"


KindArgument = Annotated[Kind, typer.Argument(metavar="KIND", help="task, execution or artifact (an uploaded one).")]
SubjectId = Annotated[str, typer.Argument(metavar="ID", help="Its id; of an artifact, its sha256.")]


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Option(help="Only holds on this.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is held and why, newest first."""
    address = Address(server, api_key, data_dir)
    page = ask(address, lambda asked: asked.get("legal-holds", kind=kind, page_size=limit))
    print_page(page, _print_holds, as_json=as_json)


@app.command()
def place(
    kind: KindArgument,
    subject_id: SubjectId,
    reason: Annotated[str, typer.Option(help="Why it must be kept; in place of the reason that it has.")],
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let nothing of it be deleted until the hold is released. It takes an admin's key."""
    address, body = Address(server, api_key, data_dir), {"reason": reason}
    placed = ask(address, lambda asked: asked.put(kind.path, subject_id, "legal-hold", body=body))
    if as_json:
        print_json(out, placed)
    else:
        _print_holds(out, [placed])


@app.command()
def release(
    kind: KindArgument,
    subject_id: SubjectId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Let it be deleted when it is old enough. It takes an admin's key."""
    ask(Address(server, api_key, data_dir), lambda asked: asked.delete(kind.path, subject_id, "legal-hold"))
    out.print(Text(clean(f"{kind} {subject_id} is not held any more")))


def _print_holds(console: Console, holds: Iterable[Json]) -> None:
    console.print(Text(_ROW.format("kind", "id", "placed", "by", "reason"), style="bold"))
    for hold in holds:
        placed = clean(hold.get("placed_at") or "-")[:16].replace("T", " ")
        reason = " ".join(clean(hold.get("reason") or "").split())
        kind, subject_id, by = (clean(hold.get(name)) for name in ("kind", "subject_id", "placed_by"))
        console.print(Text(_ROW.format(kind, subject_id, placed, by, reason)), soft_wrap=True)
