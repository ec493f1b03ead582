"""`orchestrate dead-letters`: list, show and re-drive tasks that failed for good."""

from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask, print_found, print_page
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption, TaskId
from app.cli.rendering import print_dead_letter, print_dead_letters
from app.cli.server import Json
from app.cli.terminal import clean, out, print_json
from app.errors import Invalid

app = typer.Typer(no_args_is_help=True, help="List, show and re-drive tasks that failed for good.")

ErrorTypeOption = Annotated[str | None, typer.Option(help="Only failures of this type, for instance LLM_ERROR.")]
AgentTypeOption = Annotated[str | None, typer.Option(help="Only tasks of this agent type, for instance code.")]
AfterOption = Annotated[str | None, typer.Option("--failed-after", help="Failed at or after this time (ISO 8601).")]
BeforeOption = Annotated[str | None, typer.Option("--failed-before", help="Failed before this time (ISO 8601).")]


def _given(error_type: str | None, agent_type: str | None, after: str | None, before: str | None) -> Json:
    filters = {"error_type": error_type, "agent_type": agent_type, "failed_after": after, "failed_before": before}
    return {name: value for name, value in filters.items() if value}


@app.command("list")
def list_(
    error_type: ErrorTypeOption = None,
    agent_type: AgentTypeOption = None,
    failed_after: AfterOption = None,
    failed_before: BeforeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest failure first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List tasks that failed for good, newest failure first."""
    filters = _given(error_type, agent_type, failed_after, failed_before)
    address = Address(server, api_key, data_dir)
    page = ask(address, lambda asked: asked.get("dead-letters", page_size=limit, **filters))
    print_page(page, print_dead_letters, as_json=as_json)


@app.command()
def show(
    task_id: TaskId,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why a task failed, with its whole history."""
    letter = ask(Address(server, api_key, data_dir), lambda asked: asked.get("dead-letters", task_id))
    print_found(letter, print_dead_letter, as_json=as_json)


@app.command()
def redrive(
    task_id: Annotated[str | None, typer.Argument(metavar="ID", help="One task; or give filters.")] = None,
    error_type: ErrorTypeOption = None,
    agent_type: AgentTypeOption = None,
    failed_after: AfterOption = None,
    failed_before: BeforeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most, oldest failure first.")] = 100,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter, up to the limit.")] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Queue dead letters again: one by its id, or those that match."""
    address = Address(server, api_key, data_dir)
    filters = _given(error_type, agent_type, failed_after, failed_before) | ({"all": True} if everything else {})
    if task_id is not None and filters:
        raise Invalid("give an id or filters, not both")
    if task_id is None and not filters:
        raise Invalid("give an id, a filter such as --error-type, or --all for every dead letter")
    if task_id is not None:
        answer = ask(address, lambda asked: asked.post("dead-letters", task_id, "redrive"))
        told = f"{task_id} is queued again"
    else:
        body = {**filters, "limit": limit}
        answer = ask(address, lambda asked: asked.post("dead-letters", "redrive", body=body))
        told = _told(answer)
    if as_json:
        print_json(out, answer)
    else:
        out.print(Text(clean(told)))


def _told(answer: Json) -> str:
    rest = "; more are left, run it again" if answer.get("remaining") else ""
    return f"{answer.get('redriven', 0)} queued again{rest}"
