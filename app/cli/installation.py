"""This machine's own stack and its settings."""

from pathlib import Path

from app.cli.server import Server
from app.devstack.manifest import Manifest
from app.settings import Settings, load_settings

DEFAULT_URL = "http://127.0.0.1:8000"


def local_server(data_dir: Path | None, *, api_key: str | None) -> Server:
    """The stack that runs from the data folder, else whatever listens on the default port."""
    settings = load_settings()
    running = Manifest.find_running(data_dir or settings.data_dir)
    return Server(running.api_url if running else DEFAULT_URL, api_key=api_key or _local_key(settings))


def settings_of(running: Manifest | None, **changed: object) -> Settings:
    """What the processes of a running stack have; without one, what is configured. ``changed`` comes before both."""
    known = {name.lower(): value for name, value in running.environment.items()} if running else {}
    return load_settings(**{**known, **changed})


def _local_key(settings: Settings) -> str | None:
    """Whoever may read this machine's configuration may use its first key on this machine."""
    return settings.api_keys[0].secret.get_secret_value() if settings.api_keys else None
