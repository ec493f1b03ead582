"""`orchestrate task`: submit one task and follow it to its end."""

import asyncio
import sys
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.budgets import limits_of
from app.cli.evaluation_files import EvaluationOption, read_evaluation
from app.cli.exit_codes import ExitCode, code_of_status
from app.cli.following import Follower
from app.cli.interruption import Interrupted, run_interruptibly
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.progress import Progress
from app.cli.rendering import print_task
from app.cli.server import Json, Server
from app.cli.task_input import read_input
from app.cli.terminal import clean, err, out, print_json
from app.errors import Invalid
from app.ids import new_id


@dataclass(frozen=True, slots=True)
class Submission:
    text: str
    agent: str | None = None
    session_id: str | None = None
    given: Json = field(default_factory=dict)
    evaluation: Json | None = None
    budget: Json = field(default_factory=dict)
    clarify: bool = False

    @property
    def body(self) -> Json:
        optional = {
            "agent": self.agent,
            "session_id": self.session_id,
            "input": self.given,
            "evaluation": self.evaluation,
            "budget": self.budget,
            "clarify": self.clarify,
        }
        return {"task": self.text} | {name: value for name, value in optional.items() if value}


@dataclass(frozen=True, slots=True)
class Manner:
    follow: bool = True
    as_json: bool = False
    timeout: float | None = None


class TaskRun:
    """Knows its task's id as soon as there is one, so that an interruption can name it."""

    def __init__(self, address: Address, submission: Submission, manner: Manner) -> None:
        self._address = address
        self._submission = submission
        self._manner = manner
        self.task_id: str | None = None

    async def run(self) -> ExitCode:
        async with self._address.connect() as server:
            accepted = await server.post("agent", "execute", body=self._submission.body, idempotency_key=new_id())
            self.task_id = str(accepted["task_id"])
            if not self._manner.follow:
                self._print_accepted(accepted)
                return ExitCode.OK
            return await self._follow(server, self.task_id)

    async def _follow(self, server: Server, task_id: str) -> ExitCode:
        progress = Progress(err)
        err.print(Text(f"task {clean(task_id)}", style="dim"))
        try:
            async with asyncio.timeout(self._manner.timeout):
                with progress.shown():
                    task = await Follower(server, "tasks", task_id, live=progress.is_live).follow(progress.watch)
        except TimeoutError:
            err.print(Text(f"still running after {self._manner.timeout} s; {ways_on(task_id)}"))
            return ExitCode.STILL_RUNNING
        self._print_final(task)
        return code_of_status(str(task.get("status")))

    def _print_accepted(self, accepted: Json) -> None:
        if self._manner.as_json:
            print_json(out, accepted)
        else:
            out.print(Text(clean(accepted["task_id"])))

    def _print_final(self, task: Json) -> None:
        if self._manner.as_json:
            print_json(out, task)
        else:
            print_task(out, task)


def task(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to do, in plain words; - reads standard input.")],
    agent: Annotated[str | None, typer.Option(help="Skip the routing and give it to this agent.")] = None,
    session: Annotated[str | None, typer.Option(help="Go on with this session.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=VALUE", help="Typed input, repeatable: NAME=@FILE and @FILE.json too."),
    ] = None,
    evaluation: EvaluationOption = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="LIMIT", help="Hard limit of this task, as usd=0.05; can be repeated.")
    ] = None,
    may_ask: Annotated[
        bool, typer.Option("--ask", help="Wait for you instead of failing, at a limit or when no agent clearly fits.")
    ] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Stop waiting after so many seconds.")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for the end, or print the id.")] = True,
) -> None:
    """Submit a task, follow it and print the result."""
    wanted = read_evaluation(evaluation) if evaluation else None
    limits = limits_of(budget or ())
    if limits and may_ask:
        limits["on_exceeded"] = "ask"
    typed = read_input(given or ())
    submission = Submission(text_or_stdin(text), agent, session, typed, wanted, limits, clarify=may_ask)
    manner = Manner(follow=follow, as_json=as_json, timeout=timeout)
    raise typer.Exit(run_task(Address(server, api_key, data_dir), submission, manner))


def run_task(address: Address, submission: Submission, manner: Manner) -> ExitCode:
    run = TaskRun(address, submission, manner)
    try:
        return run_interruptibly(run.run())
    except Interrupted:
        if run.task_id is not None:
            err.print(Text(f"\nthe task goes on; {ways_on(run.task_id)}"))
        return ExitCode.INTERRUPTED


def ways_on(task_id: str) -> str:
    shown = clean(task_id)
    return f"see it with: orchestrate tasks show {shown} - cancel it with: orchestrate tasks cancel {shown}"


def text_or_stdin(text: str) -> str:
    """The text itself; `-` stands for standard input."""
    if text != "-":
        return text
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Invalid("standard input is not UTF-8 text") from error
