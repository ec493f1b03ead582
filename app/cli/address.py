"""Which server a command talks to, and with which key."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

from app.cli.server import Server


@dataclass(frozen=True, slots=True)
class Address:
    """What the command line says; what it leaves out is looked up."""

    server: str | None = None
    api_key: str | None = None
    data_dir: Path | None = None

    def connect(self) -> Server:
        """--server, else ORCHESTRATE_URL, else the stack that runs from the data folder, else the default port."""
        named = self.server or os.environ.get("ORCHESTRATE_URL")
        key = self.api_key or os.environ.get("ORCHESTRATE_API_KEY")
        if named:
            return Server(named, api_key=key)
        # Loaded only here: to read the settings takes as long as all the rest of a command.
        installation = importlib.import_module("app.cli.installation")
        here: Server = installation.local_server(self.data_dir, api_key=key)
        return here
