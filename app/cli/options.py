"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ServerOption = Annotated[str | None, typer.Option("--server", help="URL of the API. Variable: ORCHESTRATE_URL.")]
KeyOption = Annotated[str | None, typer.Option("--api-key", help="API key. Variable: ORCHESTRATE_API_KEY.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the running stack. Default: DATA_DIR, else .orchestrate.")
]
ConcurrencyOption = Annotated[int | None, typer.Option(min=1, help="Jobs per worker. Default: WORKER_SLOTS.")]
AllowCommandsOption = Annotated[
    bool, typer.Option("--allow-commands", help="Let steps of workflows run programs. Default: WORKER_ALLOW_COMMANDS.")
]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]
