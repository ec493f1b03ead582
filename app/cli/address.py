"""Which server a command talks to, and with which key."""

import os
from dataclasses import dataclass
from pathlib import Path

from app.cli.server import Server
from app.devstack.manifest import Manifest
from app.settings import Settings, load_settings

DEFAULT_URL = "http://127.0.0.1:8000"


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
        settings = load_settings()
        running = Manifest.find_running(self.data_dir or settings.data_dir)
        return Server(running.api_url if running else DEFAULT_URL, api_key=key or _local_key(settings))


def settings_of(running: Manifest | None, **changed: object) -> Settings:
    """What the processes of a running stack have; without one, what is configured. ``changed`` comes before both."""
    known = {name.lower(): value for name, value in running.environment.items()} if running else {}
    return load_settings(**{**known, **changed})


def _local_key(settings: Settings) -> str | None:
    """Whoever may read this machine's configuration may use its first key on this machine."""
    return settings.api_keys[0].secret.get_secret_value() if settings.api_keys else None
