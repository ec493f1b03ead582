"""Follows an execution to its end, one line per event, and says what can be done then."""

from dataclasses import dataclass
from functools import partial

from rich.text import Text

from app.cli.address import Address
from app.cli.execution_view import print_event, print_execution
from app.cli.exit_codes import ExitCode, code_of_status
from app.cli.following import Follower
from app.cli.interruption import Interrupted, run_interruptibly
from app.cli.server import Json
from app.cli.terminal import clean, err, out, print_json

# Before the first event.
BEGINNING = "0"


@dataclass(frozen=True, slots=True)
class Following:
    address: Address
    execution_id: str
    as_json: bool = False

    async def follow(self) -> Json:
        async with self.address.connect() as server:
            follower = Follower(server, "executions", self.execution_id, after=BEGINNING)
            return await follower.follow(partial(print_event, err))


def follow_to_end(following: Following) -> ExitCode:
    """Until it has ended or waits for an approval; Ctrl-C leaves it running."""
    shown = clean(following.execution_id)
    err.print(Text(f"execution {shown}", style="dim"))
    try:
        found = run_interruptibly(following.follow())
    except Interrupted:
        err.print(Text(f"\nthe execution goes on; see it with: orchestrate executions show {shown}"))
        return ExitCode.INTERRUPTED
    if following.as_json:
        print_json(out, found)
    else:
        print_execution(out, found)
    code = code_of_status(str(found.get("status")))
    if code is ExitCode.AWAITING_APPROVAL:
        err.print(Text(f"somebody's answer is needed: orchestrate executions approve {shown} STEP", style="yellow"))
    return code
