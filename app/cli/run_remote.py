"""`run`, `resume`, `cancel`, `report` and `graph` with `--server`: the same on a server's workers."""

from collections.abc import Iterable

from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask, print_page
from app.cli.execution_following import Following, follow_to_end
from app.cli.execution_view import print_execution, print_executions
from app.cli.exit_codes import ExitCode
from app.cli.run_people import approval_of, pair_of, value_of
from app.cli.server import Json, Server
from app.cli.terminal import clean, err, out, print_json
from app.cli.workflow_upload import store_document
from app.ids import is_id, new_id


def run_there(address: Address, file: str, inputs: Json, *, as_json: bool) -> ExitCode:
    """Store the document as the current version of its name, start it, and follow it."""

    async def begin(asked: Server) -> Json:
        stored = await store_document(asked, file)
        body: Json = {"input_data": inputs, "version": stored["digest"]}
        return await asked.post("workflows", str(stored["name"]), "execute", body=body, idempotency_key=new_id())

    execution_id = str(ask(address, begin)["execution_id"])
    return follow_to_end(Following(address, execution_id, as_json=as_json))


def resume_there(
    address: Address, execution_id: str, approvals: Iterable[str], events: Iterable[str], *, as_json: bool
) -> ExitCode:
    """Give these answers and events, let it go on if it is paused, and follow it."""
    answers, signals = [pair_of(one) for one in approvals], [pair_of(one) for one in events]

    async def go_on(asked: Server) -> Json:
        for step, answer in answers:
            given = approval_of(step, answer)
            verb = "approve" if given.approved else "reject"
            body: Json = {"comment": given.comment, "form": dict(given.form)}
            await asked.post("executions", execution_id, "steps", step, verb, body=body)
        for name, text in signals:
            event, _, key = name.partition("@")
            body = {"event": event, "key": key or None, "data": value_of(text)}
            await asked.post("executions", execution_id, "signal", body=body, idempotency_key=new_id())
        found = await asked.get("executions", execution_id, "status")
        return await asked.post("executions", execution_id, "resume") if found.get("status") == "paused" else found

    ask(address, go_on)
    return follow_to_end(Following(address, execution_id, as_json=as_json))


def fork_there(address: Address, execution_id: str, step: str, *, accepts_changes: bool, as_json: bool) -> ExitCode:
    """Begin another execution at this step, and follow it."""
    forked = ask(
        address,
        lambda asked: asked.post(
            "executions",
            execution_id,
            "fork",
            query={"from": step},
            body={"accept_changes": accepts_changes},
            idempotency_key=new_id(),
        ),
    )
    return follow_to_end(Following(address, str(forked["execution_id"]), as_json=as_json))


def cancel_there(address: Address, execution_id: str) -> None:
    ask(address, lambda asked: asked.post("executions", execution_id, "cancel"))
    err.print(Text(clean(f"execution {execution_id} is asked to stop"), style="dim"))


def report_there(address: Address, execution_id: str | None, *, as_json: bool) -> None:
    """Without an id, the newest executions."""
    if execution_id is None:
        print_page(ask(address, lambda asked: asked.get("executions")), print_executions, as_json=as_json)
        return
    found = ask(address, lambda asked: asked.get("executions", execution_id))
    if as_json:
        print_json(out, found)
    else:
        print_execution(out, found)


def graph_there(address: Address, target: str, form: str) -> None:
    """Of an execution, by its id, or of a stored workflow."""
    kind = "executions" if is_id(target) else "workflows"

    async def draw(asked: Server) -> Json:
        return {"drawn": (await asked.download(kind, target, "graph", format=form)).decode()}

    out.print(Text(clean(ask(address, draw)["drawn"])), end="")
