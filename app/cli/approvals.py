"""`orchestrate approvals`: what people are asked to approve on a server."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.approval_view import print_approval, print_approvals
from app.cli.asking import ask, print_answer, print_found, print_page
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.server import Json, Server
from app.cli.task_input import read_input
from app.cli.terminal import clean, out, print_json
from app.errors import Invalid

app = typer.Typer(
    no_args_is_help=True, help="List, show, approve, reject and delegate what people are asked; make links for mails."
)

ApprovalId = Annotated[str, typer.Argument(metavar="ID", help="The approval's id.")]
CommentOption = Annotated[str, typer.Option(help="Why; kept with the approval.")]
FormOption = Annotated[
    list[str] | None, typer.Option("--form", metavar="NAME=VALUE", help="A field of the form, repeatable.")
]
VersionOption = Annotated[
    int | None,
    typer.Option(
        "--seen", min=1, metavar="VERSION", help="Only if it still has the version that `show` told. Default: any."
    ),
]
_PATH = "approvals"


@app.command("list")
def list_(
    mine: Annotated[bool, typer.Option("--mine", help="Only what is up to your key now.")] = False,
    status: Annotated[str | None, typer.Option(help="Only those in this status, for instance pending.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only those about a task, a step or a tool.")] = None,
    task: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this task.")] = None,
    execution: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this execution.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what people are asked to approve, newest first."""
    address = Address(server, api_key, data_dir)
    only = "true" if mine else None
    where = {"mine": only, "status": status, "kind": kind, "task_id": task, "execution_id": execution}
    page = ask(address, lambda asked: asked.get(_PATH, page_size=limit, **where))
    print_page(page, print_approvals, as_json=as_json)


@app.command()
def show(
    approval_id: ApprovalId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is proposed, who may decide, and what was said so far."""
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.get(_PATH, approval_id))
    print_found(found, print_approval, as_json=as_json)


@app.command()
def approve(
    approval_id: ApprovalId,
    comment: CommentOption = "",
    form: FormOption = None,
    edited: Annotated[
        Path | None, typer.Option("--edited", metavar="FILE", help="The proposed input in other words.")
    ] = None,
    seen: VersionOption = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve it, as it is proposed or as you edited it."""
    body: Json = {"decision": "approve", "comment": comment, "form": read_input(form or ())}
    if edited is not None:
        body["edited_input"] = _read(edited)
    answer = ask(Address(server, api_key, data_dir), lambda asked: _act(asked, approval_id, "decisions", body, seen))
    print_answer(answer, as_json=as_json, otherwise=_told(answer))


@app.command()
def reject(
    approval_id: ApprovalId,
    comment: CommentOption = "",
    seen: VersionOption = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reject it; one rejection decides."""
    body: Json = {"decision": "reject", "comment": comment}
    answer = ask(Address(server, api_key, data_dir), lambda asked: _act(asked, approval_id, "decisions", body, seen))
    print_answer(answer, as_json=as_json, otherwise=_told(answer))


@app.command()
def delegate(
    approval_id: ApprovalId,
    to: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key that gets your vote.")],
    comment: CommentOption = "",
    seen: VersionOption = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give your vote to another key."""
    body: Json = {"to": to, "comment": comment}
    answer = ask(Address(server, api_key, data_dir), lambda asked: _act(asked, approval_id, "delegate", body, seen))
    print_answer(answer, as_json=as_json, otherwise=f"{to} decides for you")


@app.command()
def link(
    approval_id: ApprovalId,
    decision: Annotated[str, typer.Argument(metavar="approve|reject", help="What the link is for.")],
    approver: Annotated[
        str | None, typer.Option(metavar="KEY", help="Whose answer it gives, by the key's id. Default: your own.")
    ] = None,
    expires_in: Annotated[int, typer.Option(min=60, metavar="SECONDS", help="How long it may be used.")] = 86_400,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a link that decides with one click. Whoever has it decides: send it to that person alone."""
    body: Json = {"decision": decision, "approver": approver, "expires_in": expires_in}

    async def made(asked: Server) -> Json:
        answer = await asked.post(_PATH, approval_id, "links", body=body)
        return {**answer, "url": answer.get("url") or f"{asked.url}{answer.get('path')}"}

    answer = ask(Address(server, api_key, data_dir), made)
    if as_json:
        print_json(out, answer)
    else:
        out.print(Text(clean(answer["url"])))


async def _act(server: Server, approval_id: str, verb: str, body: Json, seen: int | None) -> Json:
    return await server.post(_PATH, approval_id, verb, body=body, if_match=f'"{seen}"' if seen else "*")


def _told(answer: Json) -> str:
    if answer.get("status") != "pending":
        return f"it is {answer.get('status')}"
    return f"{answer.get('votes')} of {answer.get('quorum')} have approved"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise Invalid(f"--edited {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"--edited {path}: it is not UTF-8 text") from error
