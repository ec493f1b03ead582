"""`orchestrate task`: submit one task and follow it to its end."""

import asyncio
import sys
from dataclasses import dataclass, field

from rich.text import Text

from app.cli.address import Address
from app.cli.exit_codes import ExitCode, code_of_status
from app.cli.following import Follower
from app.cli.interruption import Interrupted, run_interruptibly
from app.cli.progress import Progress
from app.cli.rendering import print_json, print_task
from app.cli.server import Json, Server
from app.cli.terminal import clean, err, out
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
            accepted = await server.submit(self._submission.body, idempotency_key=new_id())
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
                    task = await Follower(server, task_id, live=progress.is_live).follow(progress.watch)
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
