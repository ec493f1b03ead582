"""`stack.json`: where the stack that runs from a data folder can be reached, for the other commands."""

import os
from pathlib import Path
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

FILE_NAME = "stack.json"


class Manifest(BaseModel):
    """Only URLs of embedded parts are written: what the user configured may carry passwords.

    `environment` holds the variables under which the children reach the embedded parts.
    """

    model_config = ConfigDict(frozen=True)

    supervisor_pid: int
    api_url: str
    environment: dict[str, str]
    embedded: tuple[str, ...]
    pids: dict[str, int]

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """What was last written, or None when there is nothing readable; the stack may have been killed since."""
        try:
            return cls.model_validate_json((folder / FILE_NAME).read_bytes())
        except (OSError, ValidationError):
            return None

    @classmethod
    def find_running(cls, folder: Path) -> Self | None:
        found = cls.find(folder)
        return found if found is not None and found.is_running else None

    @property
    def is_running(self) -> bool:
        """A killed supervisor whose parent has not yet asked for its exit code does not run."""
        try:
            return psutil.Process(self.supervisor_pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def write(self, folder: Path) -> None:
        """Replace the file in one step; only its owner can read it."""
        draft = folder / f"{FILE_NAME}.new"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - the mode must be set when the file is made
            file.write(self.model_dump_json(indent=2) + "\n")
        draft.replace(folder / FILE_NAME)


def remove(folder: Path) -> None:
    (folder / FILE_NAME).unlink(missing_ok=True)
