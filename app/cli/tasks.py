"""`orchestrate tasks`: list, show, cancel, retry, review, what a task made or did outside, and why it waits."""

from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.artifact_files import SaveOption, show_artifacts
from app.cli.asking import ask, print_answer, print_found, print_page
from app.cli.attempt_view import print_attempts
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption, TaskId
from app.cli.rendering import print_effects, print_task, print_tasks
from app.cli.server import Json
from app.cli.terminal import clean, out, print_json
from app.errors import Invalid
from app.ids import new_id

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, cancel and retry tasks, download what they made, ask why one waits or what it did outside.",
)


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="Only tasks in this status.")] = None,
    agent_type: Annotated[str | None, typer.Option(help="Only tasks of this agent type, for instance code.")] = None,
    session: Annotated[str | None, typer.Option(help="Only tasks of this session.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List tasks, newest first."""
    page = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.get("tasks", status=status, agent_type=agent_type, session_id=session, page_size=limit),
    )
    print_page(page, print_tasks, as_json=as_json)


@app.command()
def show(
    task_id: TaskId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one task with its result, cost and routing reason."""
    task = ask(Address(server, api_key, data_dir), lambda asked: asked.get("tasks", task_id))
    print_found(task, print_task, as_json=as_json)


@app.command()
def cancel(
    task_id: TaskId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a task that has not ended; one that is being worked on stops within about a second."""
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.post("tasks", task_id, "cancel"))
    print_answer(answer, as_json=as_json, otherwise=f"cancellation of {task_id} asked for")


@app.command()
def retry(
    task_id: TaskId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Queue a failed or cancelled task again."""
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.post("tasks", task_id, "retry"))
    print_answer(answer, as_json=as_json, otherwise=f"{task_id} is queued again")


@app.command()
def rerun(
    task_id: TaskId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do a task anew, whatever became of it: another task with the same input and options. Prints its id."""
    accepted = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.post("tasks", task_id, "rerun", idempotency_key=new_id()),
    )
    if as_json:
        print_json(out, accepted)
    else:
        out.print(Text(clean(str(accepted.get("task_id")))))


@app.command()
def clarify(
    task_id: TaskId,
    agent: Annotated[str | None, typer.Option(help="The agent that shall do it.")] = None,
    text: Annotated[str | None, typer.Option(help="More words; the task is routed again with them.")] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which agent a task is for that waits for this, by its name or in other words."""
    if (agent is None) == (text is None):
        raise Invalid("give either --agent or --text")
    body: Json = {"agent": agent} if agent is not None else {"text": text}
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.post("tasks", task_id, "clarify", body=body))
    print_answer(answer, as_json=as_json, otherwise=f"{task_id} goes on")


@app.command()
def review(
    task_id: TaskId,
    accept: Annotated[bool | None, typer.Option("--accept/--reject", help="What you decided.")] = None,
    comment: Annotated[str | None, typer.Option(help="Why; kept with the task.")] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accept or reject an output that did not pass its evaluation and waits for somebody to look at it."""
    if accept is None:
        raise Invalid("give either --accept or --reject")
    body: Json = {"decision": "accept" if accept else "reject", "comment": comment}
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.post("tasks", task_id, "review", body=body))
    print_answer(answer, as_json=as_json, otherwise=f"{task_id} goes on")


@app.command()
def why(
    task_id: TaskId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in plain words what a task waits for."""
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.get("tasks", task_id, "why"))
    print_answer(answer, as_json=as_json, otherwise="the server gave no reason; see --json")


@app.command()
def attempts(
    task_id: TaskId,
    after: Annotated[int, typer.Option(min=0, help="Go on behind this attempt.")] = 0,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every attempt that was ever made at a task: who made it, how it ended, what it cost."""
    address = Address(server, api_key, data_dir)
    found = ask(address, lambda asked: asked.get("tasks", task_id, "attempts", after=after or None))
    print_found(found, print_attempts, as_json=as_json)


@app.command()
def artifacts(
    task_id: TaskId,
    save: SaveOption = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the files of a task's result, such as charts, or download them."""
    address = Address(server, api_key, data_dir)
    found = ask(address, lambda asked: asked.get("tasks", task_id, "artifacts"))
    none = "the task's result has no files"
    show_artifacts(address, ("tasks", task_id), found, save, as_json=as_json, none=none)


@app.command()
def effects(
    task_id: TaskId,
    resolve: Annotated[str | None, typer.Option(metavar="KEY", help="Say whether this effect happened.")] = None,
    happened: Annotated[
        bool | None, typer.Option("--happened/--not-happened", help="With --resolve: what you found out.")
    ] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what a task did outside, or say whether an uncertain effect happened."""
    address = Address(server, api_key, data_dir)
    if (resolve is None) != (happened is None):
        raise Invalid("give --resolve KEY together with --happened or --not-happened")
    if resolve is not None and happened is not None:
        path, body = ("tasks", task_id, "effects", resolve, "resolve"), {"happened": happened}
        answer = ask(address, lambda asked: asked.post(*path, body=body))
        print_answer(answer, as_json=as_json, otherwise=f"noted; now: orchestrate tasks retry {task_id}")
        return
    found = ask(address, lambda asked: asked.get("tasks", task_id, "effects"))
    if as_json:
        print_json(out, found)
    else:
        print_effects(out, found.get("items") or [])
