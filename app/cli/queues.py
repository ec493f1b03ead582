"""`orchestrate queues`: what waits in the broker, and the way back from dead-letter queues."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.text import Text

from app.cli.installation import settings_of
from app.cli.options import DataDirOption, JsonOption
from app.cli.terminal import clean, err, out, print_json
from app.devstack.manifest import Manifest
from app.errors import Invalid
from app.jobs.queues import Queues, QueueState, Redriven, open_queues
from app.setting_types import QueueName
from app.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Show what waits in the broker; move dead letters back to their queue.")

_NAMES: tuple[str, ...] = get_args(QueueName)
_ROW = "{:18} {:>9} {:>10} {:>13}"
_HINT = (
    "What such messages were about was rung again by itself meanwhile, and a second message starts nothing twice. "
    "Tasks that failed for good: orchestrate dead-letters"
)


@app.command("list")
def list_(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """List the queues: messages that wait, that workers hold, and that were put aside.

    The broker itself is asked, with this machine's settings. `-` is what this broker cannot say.
    """
    states = _open(data_dir).list_states()
    if as_json:
        print_json(out, {"items": [asdict(state) for state in states]})
    else:
        _print_states(states)


@app.command()
def redrive(
    queue: Annotated[str | None, typer.Argument(metavar="QUEUE", help="One queue; otherwise all.")] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="How many messages at most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move messages from the dead-letter queues back to their queues (on SQS).

    One may arrive twice, which is harmless: whoever comes second finds the job taken.
    """
    if queue is not None and queue not in _NAMES:
        raise Invalid(f"no queue {queue[:80]!r}: there are {', '.join(_NAMES)}")
    moved = _open(data_dir).redrive(_NAMES if queue is None else (queue,), most=most, is_dry=dry_run)
    if as_json:
        print_json(out, {"items": [asdict(one) for one in moved]})
        return
    for one in moved:
        out.print(Text(_told(one)))
    err.print(Text(_HINT, style="dim"))


def _open(data_dir: Path | None) -> Queues:
    settings = settings_of(Manifest.find_running(data_dir or load_settings().data_dir))
    return open_queues(settings.broker_url, sqs_queue_url_prefix=settings.sqs_queue_url_prefix)


def _print_states(states: Sequence[QueueState]) -> None:
    out.print(Text(_ROW.format("queue", "waiting", "in flight", "dead letters"), style="bold"))
    for state in states:
        cells = ("-" if one is None else str(one) for one in (state.waiting, state.in_flight, state.dead_letters))
        out.print(Text(_ROW.format(clean(state.name), *cells), style="yellow" if state.dead_letters else ""))


def _told(redriven: Redriven) -> str:
    if redriven.is_dry:
        return f"{redriven.queue}: {redriven.moved} would be moved back"
    rest = ", and SQS goes on with the others" if redriven.is_going_on else ""
    return f"{redriven.queue}: {redriven.moved} moved back{rest}"
