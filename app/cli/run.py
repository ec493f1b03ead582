"""`orchestrate run`, `resume`, `cancel`, `report`, `graph`, `receipt`: workflows in this process, without a stack."""

import asyncio
import importlib
import json
import shlex
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.exit_codes import ExitCode
from app.cli.interruption import Interrupted, run_interruptibly
from app.cli.options import DataDirOption, JsonOption, KeyOption
from app.cli.run_people import people_of
from app.cli.run_policy import policy_file
from app.cli.run_remote import cancel_there, fork_there, graph_there, report_there, resume_there, run_there
from app.cli.run_view import RunView, outputs_as_text, tree_of
from app.cli.task_input import read_input
from app.cli.terminal import clean, err, out, print_json
from app.cli.workflow_files import load_file
from app.errors import Invalid
from app.ids import is_id
from app.settings import load_settings
from app.workflows.diagram.boxes import RUNNING, WAITING
from app.workflows.diagram.mermaid import mermaid_of
from app.workflows.diagram.svg import svg_of
from app.workflows.handover import checked_inputs
from app.workflows.language.loading import Definition
from app.workflows.local.evidence import Evidence, Ref
from app.workflows.local.history import History, RunStatus, StepRecord
from app.workflows.local.journal import read_journal
from app.workflows.local.receipts import verify_evidence, verify_receipt
from app.workflows.local.reporting import as_markdown, report_of
from app.workflows.local.runs import folder_of
from app.workflows.plan import Plan
from app.workflows.shelf import PREFIX

if TYPE_CHECKING:
    # It loads LangGraph and the models' clients, which takes as long as everything else together.
    from app.cli.run_session import Finished, Session

RUNS = "runs"
_CODES = {
    RunStatus.SUCCEEDED: ExitCode.OK,
    RunStatus.CANCELLED: ExitCode.CANCELLED,
    RunStatus.WAITING: ExitCode.AWAITING_APPROVAL,
}
_ROW = "{:36}  {:12}  {:24}  {}"

receipt_app = typer.Typer(no_args_is_help=True, help="Prove offline what a run did.")

RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id.")]
WatchOption = Annotated[
    bool | None, typer.Option("--watch/--no-watch", help="A live tree, or lines. Default: a tree on a terminal.")
]
ConcurrencyOption = Annotated[int, typer.Option(min=1, max=256, help="Steps that work at the same time.")]
ApproveOption = Annotated[
    list[str] | None,
    typer.Option("--approve", metavar="STEP=ANSWER", help="Answer an approval: yes, no, or JSON with a form."),
]
EventOption = Annotated[
    list[str] | None, typer.Option("--event", metavar="NAME=JSON", help="An event that a step waits for.")
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="Ask this policy before each step and call of a tool. Default: POLICY_FILE."
    ),
]
AcceptOption = Annotated[
    bool, typer.Option("--accept-changes", help="Go on although the workflow is another one by now.")
]


ServerOption = Annotated[
    str | None, typer.Option("--server", help="On this server's workers, and not in this process.")
]


class GraphFormat(StrEnum):
    MERMAID = "mermaid"
    SVG = "svg"
    TERMINAL = "terminal"


def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A workflow document, or library:NAME.")],
    given: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=VALUE", help="Input, repeatable: NAME=@FILE and @FILE.json too."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and the inputs; run nothing.")] = False,
    approve: ApproveOption = None,
    event: EventOption = None,
    policy: PolicyOption = None,
    watch: WatchOption = None,
    concurrency: ConcurrencyOption = 8,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a workflow in this process: no stack is needed, and without a model's key the simulator answers.

    Evidence is kept under .orchestrate/runs. Exit codes: 0 succeeded, 1 failed, 2 wrong usage or an invalid workflow,
    3 cancelled, 7 somebody's answer is needed (resume it with --approve or --event), 130 Ctrl-C (resume it).
    """
    if server is not None:
        _refuse_local(dry_run=dry_run, approve=approve, event=event)
        _refuse_policy(policy)
        raise typer.Exit(run_there(Address(server, api_key), file, read_input(given or ()), as_json=as_json))
    definition = load_file(file)
    inputs = checked_inputs(definition.workflow, read_input(given or ()))
    if dry_run:
        _print_plan(definition, inputs, as_json=as_json)
        return
    session = _session(definition.plan, approve, event, watch, concurrency, data_dir, policy_file(policy))
    heavy = importlib.import_module("app.cli.run_session")
    source = file if file.startswith(PREFIX) else str(Path(file).absolute())
    _finish(heavy.run_new(session, definition, source, inputs), session.view, as_json=as_json)


def resume(
    execution_id: RunId,
    from_step: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="Begin a new run at this step, with what came before.")
    ] = None,
    accept_changes: AcceptOption = False,
    approve: ApproveOption = None,
    event: EventOption = None,
    policy: PolicyOption = None,
    watch: WatchOption = None,
    concurrency: ConcurrencyOption = 8,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that was interrupted or waits; what has ended is not done again. Exit codes as of `run`."""
    if server is not None:
        _refuse_policy(policy)
        address = Address(server, api_key)
        if from_step is not None:
            code = fork_there(address, execution_id, from_step, accepts_changes=accept_changes, as_json=as_json)
        else:
            code = resume_there(address, execution_id, approve or (), event or (), as_json=as_json)
        raise typer.Exit(code)
    history = History.of(read_journal(Evidence(folder_of(_root(data_dir), execution_id)).events))
    definition = load_file(str(history.created["source"]))
    asked = policy_file(policy, history)
    session = _session(definition.plan, approve, event, watch, concurrency, data_dir, asked)
    heavy = importlib.import_module("app.cli.run_session")
    if from_step is None:
        work = heavy.run_on(session, definition, execution_id, accepts_changes=accept_changes)
    else:
        work = heavy.run_fork(session, definition, execution_id, from_step, accepts_changes=accept_changes)
    _finish(work, session.view, as_json=as_json)


def cancel(
    execution_id: RunId, server: ServerOption = None, api_key: KeyOption = None, data_dir: DataDirOption = None
) -> None:
    """Stop a run of this machine: its programs are killed, and its `finally` still runs."""
    if server is not None:
        cancel_there(Address(server, api_key), execution_id)
        return
    has_ended = importlib.import_module("app.cli.run_session").cancel_run(_root(data_dir), execution_id)
    told = "is cancelled" if has_ended else "is asked to stop"
    err.print(Text(clean(f"run {execution_id} {told}"), style="dim"))


def report(
    execution_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The run's id; without one, list all.")
    ] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a run did, step by step, as Markdown or JSON; without an id, the runs of this folder."""
    if server is not None:
        report_there(Address(server, api_key), execution_id, as_json=as_json)
        return
    root = _root(data_dir)
    if execution_id is None:
        _print_runs(root, as_json=as_json)
        return
    found = asyncio.run(_report(folder_of(root, execution_id)))
    if as_json:
        print_json(out, found)
    else:
        out.print(Text(clean(as_markdown(found))), end="")


def graph(
    target: Annotated[str, typer.Argument(metavar="FILE|ID", help="A workflow, or a run to draw with its results.")],
    form: Annotated[GraphFormat, typer.Option("--format", help="Mermaid, a picture, or a tree.")] = GraphFormat.MERMAID,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Draw a workflow, or a run with how its steps ended."""
    if server is not None:
        graph_there(Address(server, api_key), target, form.value)
        return
    history = None
    if is_id(target):
        history = History.of(read_journal(Evidence(folder_of(_root(data_dir), target)).events))
    plan = load_file(str(history.created["source"]) if history else target).plan
    if form is GraphFormat.TERMINAL:
        out.print(tree_of(plan, history))
        return
    states = {path: _state(step) for path, step in history.steps.items()} if history else {}
    draw = svg_of if form is GraphFormat.SVG else mermaid_of
    out.print(Text(clean(draw(plan, states))), end="")


@receipt_app.command()
def verify(
    target: Annotated[
        str, typer.Argument(metavar="DIR|ID|FILE", help="A run's folder or id, or the saved receipt of an execution.")
    ],
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check offline that evidence is what was written when it ran. Exit code 1 when it is not.

    A server gives the receipt of an execution at `GET /v1/executions/{id}/receipt`.
    """
    if Path(target).is_file():
        found = verify_receipt(Path(target))
    else:
        folder = folder_of(_root(data_dir), target) if is_id(target) else Path(target)
        found = asyncio.run(verify_evidence(folder))
    if as_json:
        print_json(out, {"ok": found.ok, "events": found.events, "values": found.checked, "problems": found.problems})
    elif found.ok:
        out.print(Text(f"the evidence is complete: {found.events} events, {found.checked} values"))
    for problem in () if as_json else found.problems:
        out.print(Text(clean(problem), style="red"))
    raise typer.Exit(ExitCode.OK if found.ok else ExitCode.FAILED)


def _refuse_local(*, dry_run: bool, approve: list[str] | None, event: list[str] | None) -> None:
    if dry_run:
        raise Invalid("--dry-run asks no server: `orchestrate validate FILE --server URL` does")
    if approve or event:
        raise Invalid("--approve and --event come later with a server: orchestrate resume ID --server URL --approve …")


def _refuse_policy(policy: Path | None) -> None:
    if policy is not None:
        raise Invalid("a server asks the policy that it holds: store this one with `orchestrate policy put FILE`")


def _state(step: StepRecord) -> str:
    return step.end or (WAITING if step.waits_for else RUNNING)


def _root(data_dir: Path | None) -> Path:
    return (data_dir or load_settings().data_dir) / RUNS


def _session(
    plan: Plan,
    approve: list[str] | None,
    event: list[str] | None,
    watch: bool | None,
    concurrency: int,
    data_dir: Path | None,
    policy: Path | None,
) -> "Session":
    is_live = err.is_terminal if watch is None else watch and err.is_terminal
    view = RunView(err, plan, is_live=is_live)
    people = people_of(approve or (), event or (), before=view.pause, after=view.go_on)
    folder = data_dir or load_settings().data_dir
    session: Session = importlib.import_module("app.cli.run_session").Session(
        folder / RUNS, folder, people, view, concurrency, policy
    )
    return session


def _finish(work: "Coroutine[Any, Any, Finished]", view: RunView, *, as_json: bool) -> None:
    try:
        finished = run_interruptibly(work)
    except Interrupted:
        err.print(Text(f"interrupted; go on with: orchestrate resume {view.execution_id or 'ID'}", style="yellow"))
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        told = {"execution_id": finished.execution_id, "status": finished.status.value, "outputs": finished.outputs}
        asked = {"asked": list(finished.asked)}
        print_json(out, {**told, **asked, "error": finished.error, "evidence": str(finished.folder)})
    else:
        _print_finished(finished)
    raise typer.Exit(_CODES.get(finished.status, ExitCode.FAILED))


def _print_finished(finished: "Finished") -> None:
    for line in outputs_as_text(finished.outputs):
        out.print(line)
    if finished.error:
        where = f"{finished.error['path']}: " if finished.error.get("path") else ""
        told = f"{where}{finished.error['type']}: {finished.error['message']}"
        err.print(Text(clean(told), style="bold red"))
    if finished.status is RunStatus.WAITING:
        answers = " ".join(f"--approve {shlex.quote(f'{name}=yes')}" for name in finished.asked or ("STEP",))
        told = f"somebody's answer is needed: orchestrate resume {finished.execution_id} {answers}"
        err.print(Text(clean(told), style="yellow"))
    err.print(Text(clean(f"{finished.status}: {finished.folder}"), style="dim"))


def _print_plan(definition: Definition, inputs: Any, *, as_json: bool) -> None:
    if as_json:
        told = {"workflow": definition.workflow.name, "digest": definition.digest, "inputs": inputs}
        print_json(out, {**told, "graph": mermaid_of(definition.plan)})
        return
    out.print(tree_of(definition.plan))
    out.print(Text(clean(f"digest: {definition.digest}"), style="dim"))
    out.print(Text(clean(f"inputs: {json.dumps(inputs, indent=2, ensure_ascii=False)}")))


def _print_runs(root: Path, *, as_json: bool) -> None:
    folders = [path for path in root.glob("*") if is_id(path.name) and (path / "events.jsonl").is_file()]
    found = sorted((History.of(read_journal(path / "events.jsonl")) for path in folders), key=_began, reverse=True)
    rows = [(one.execution_id, one.status.value, _began(one), str(one.created["workflow"])) for one in found]
    if as_json:
        names = ("execution_id", "status", "started_at", "workflow")
        print_json(out, {"runs": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    for row in rows:
        out.print(Text(clean(_ROW.format(*row))))


def _began(history: History) -> str:
    return str(history.created["at"])


async def _report(folder: Path) -> dict[str, Any]:
    evidence = Evidence(folder)
    history = History.of(read_journal(evidence.events))
    given = history.created["inputs"]
    inputs = await evidence.get(evidence.inputs, Ref(given["sha256"], given["size"]))
    outputs = await evidence.get(evidence.outputs, history.outputs) if history.outputs else None
    return report_of(history, inputs=inputs, outputs=outputs)
