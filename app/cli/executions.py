"""`orchestrate executions`: executions of stored workflows on a server."""

import json
from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.artifact_files import SaveOption, show_artifacts
from app.cli.asking import ask, print_answer, print_found, print_page
from app.cli.attempt_view import print_attempts
from app.cli.execution_following import Following, follow_to_end
from app.cli.execution_view import print_execution, print_executions, print_lines, print_status
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.server import Json
from app.cli.task_input import read_input
from app.cli.terminal import clean, err, out, print_json
from app.errors import Invalid
from app.ids import new_id

app = typer.Typer(
    no_args_is_help=True,
    help="Start, follow, steer and fork executions of stored workflows, answer approvals, send signals.",
)

ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")]
StepPath = Annotated[str, typer.Argument(metavar="STEP", help="The path of the step, as `executions show` tells it.")]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=VALUE", help="Input, repeatable: NAME=@FILE and @FILE.json too."),
]
FollowOption = Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for the end, or print the id.")]
CommentOption = Annotated[str, typer.Option(help="Why; kept with the step.")]
FormOption = Annotated[
    list[str] | None, typer.Option("--form", metavar="NAME=VALUE", help="A field of the form, repeatable.")
]
_PATH = "executions"


@app.command()
def start(
    workflow: Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name or id.")],
    given: InputOption = None,
    version: Annotated[str | None, typer.Option(metavar="DIGEST", help="Default: the current version.")] = None,
    follow: FollowOption = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start an execution of a stored workflow, and print its id or follow it to its end."""
    body: Json = {"input_data": read_input(given or ()), **({"version": version} if version else {})}
    address = Address(server, api_key, data_dir)
    path = ("workflows", workflow, "execute")
    accepted = ask(address, lambda asked: asked.post(*path, body=body, idempotency_key=new_id()))
    _accepted(address, accepted, follow=follow, as_json=as_json)


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="Only executions in this status.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only those of this workflow, by name or id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List executions, newest first."""
    page = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.get(_PATH, status=status, workflow=workflow, page_size=limit),
    )
    print_page(page, print_executions, as_json=as_json)


@app.command()
def show(
    execution_id: ExecutionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one execution with its steps, outputs and cost."""
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.get(_PATH, execution_id))
    print_found(found, print_execution, as_json=as_json)


@app.command()
def status(
    execution_id: ExecutionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how far an execution is, and what of it runs or waits now."""
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.get(_PATH, execution_id, "status"))
    print_found(found, print_status, as_json=as_json)


@app.command()
def logs(
    execution_id: ExecutionId,
    words: Annotated[str | None, typer.Option("--grep", metavar="TEXT", help="Only lines that hold this text.")] = None,
    level: Annotated[str | None, typer.Option(help="The least: info, warning or error.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Go on behind this line's number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the oldest first.")] = 100,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what happened in an execution, line by line."""
    found = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.get(_PATH, execution_id, "logs", q=words, level=level, after=after, page_size=limit),
    )
    if as_json:
        print_json(out, found)
        return
    print_lines(out, found.get("items") or ())
    if found.get("next_cursor") is not None:
        err.print(Text(f"there may be more: --after {found['next_cursor']}", style="dim"))


@app.command()
def attempts(
    execution_id: ExecutionId,
    step: StepPath,
    after: Annotated[int, typer.Option(min=0, help="Go on behind this attempt.")] = 0,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every attempt that was ever made at a step: who made it, how it ended, what it cost."""
    path = (_PATH, execution_id, "steps", step, "attempts")
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.get(*path, after=after or None))
    print_found(found, print_attempts, as_json=as_json)


@app.command()
def artifacts(
    execution_id: ExecutionId,
    save: SaveOption = None,
    after: Annotated[int, typer.Option(min=0, help="Go on behind this; see next_after of --json.")] = 0,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the files and values that the steps of an execution keep, or download them."""
    address, owner = Address(server, api_key, data_dir), (_PATH, execution_id)
    found = ask(address, lambda asked: asked.get(*owner, "artifacts", after=after or None))
    show_artifacts(address, owner, found, save, as_json=as_json, none="no step keeps anything")


@app.command()
def why(
    execution_id: ExecutionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in plain words what an execution waits for."""
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.get(_PATH, execution_id, "why"))
    print_answer(answer, as_json=as_json, otherwise="the server gave no reason; see --json")


@app.command()
def watch(
    execution_id: ExecutionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow an execution from its beginning until it ends or waits for an approval."""
    address = Address(server, api_key, data_dir)
    raise typer.Exit(follow_to_end(Following(address, execution_id, as_json=as_json)))


@app.command()
def cancel(
    execution_id: ExecutionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel an execution: steps that run are stopped, and its `finally` still runs."""
    _act(Address(server, api_key, data_dir), execution_id, "cancel", "cancellation is asked for", as_json=as_json)


@app.command()
def pause(
    execution_id: ExecutionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin no more steps of an execution until it is resumed."""
    _act(Address(server, api_key, data_dir), execution_id, "pause", "is paused", as_json=as_json)


@app.command()
def resume(
    execution_id: ExecutionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a paused execution go on."""
    _act(Address(server, api_key, data_dir), execution_id, "resume", "goes on", as_json=as_json)


@app.command()
def retry(
    execution_id: ExecutionId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Queue a failed or cancelled execution again; what has finished is not done again."""
    _act(Address(server, api_key, data_dir), execution_id, "retry", "is queued again", as_json=as_json)


@app.command()
def fork(
    execution_id: ExecutionId,
    from_step: Annotated[str, typer.Option("--from", metavar="STEP", help="The first step to be carried out again.")],
    given: InputOption = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Carry out the workflow's current version.")
    ] = False,
    follow: FollowOption = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start another execution that takes over what ended before a step, with other inputs if you like."""
    address = Address(server, api_key, data_dir)
    body: Json = {"input_data": read_input(given or ()), "accept_changes": accept_changes}
    path = (_PATH, execution_id, "fork")
    accepted = ask(
        address, lambda asked: asked.post(*path, query={"from": from_step}, body=body, idempotency_key=new_id())
    )
    _accepted(address, accepted, follow=follow, as_json=as_json)


@app.command()
def signal(
    execution_id: ExecutionId,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event that a step waits for.")],
    key: Annotated[str | None, typer.Option(help="The correlation key.")] = None,
    data: Annotated[str | None, typer.Option(metavar="JSON", help="What the event carries.")] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell an execution of an event; it is kept until a step waits for it."""
    body: Json = {"event": event, "key": key, "data": _read_json(data)}
    answer = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.post(_PATH, execution_id, "signal", body=body, idempotency_key=new_id()),
    )
    told = "a step has taken it" if answer.get("delivered") else "no step waits for it yet; it is kept"
    print_answer(answer, as_json=as_json, otherwise=told)


@app.command()
def approve(
    execution_id: ExecutionId,
    step: StepPath,
    comment: CommentOption = "",
    form: FormOption = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a step that waits for it."""
    body: Json = {"comment": comment, "form": read_input(form or ())}
    answer = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.post(_PATH, execution_id, "steps", step, "approve", body=body),
    )
    print_answer(answer, as_json=as_json, otherwise=f"{step} is {answer.get('status')}")


@app.command()
def reject(
    execution_id: ExecutionId,
    step: StepPath,
    comment: CommentOption = "",
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reject a step that waits for an approval."""
    answer = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.post(_PATH, execution_id, "steps", step, "reject", body={"comment": comment}),
    )
    print_answer(answer, as_json=as_json, otherwise=f"{step} is rejected")


def _act(address: Address, execution_id: str, verb: str, told: str, *, as_json: bool) -> None:
    answer = ask(address, lambda asked: asked.post(_PATH, execution_id, verb))
    print_answer(answer, as_json=as_json, otherwise=f"{execution_id} {told}")


def _accepted(address: Address, accepted: Json, *, follow: bool, as_json: bool) -> None:
    execution_id = str(accepted.get("execution_id"))
    if follow:
        raise typer.Exit(follow_to_end(Following(address, execution_id, as_json=as_json)))
    if as_json:
        print_json(out, accepted)
    else:
        out.print(Text(clean(execution_id)))


def _read_json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"--data {text[:80]!r} is not JSON; quote texts, as in '\"text\"'") from error
