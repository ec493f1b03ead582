"""Where the commands write: results to stdout, everything else to stderr."""

import json
import os
import unicodedata
from typing import Any

from rich.console import Console


class Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read has gone; the work goes on unheard. (Rich would end the process in the middle of it.)"""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


out = Terminal(highlight=False, soft_wrap=True)
err = Terminal(stderr=True, highlight=False, soft_wrap=True)


def clean(text: object) -> str:
    """Text that came from elsewhere, without the control characters that would steer the terminal."""
    return "".join(char for char in str(text) if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cf"})


def print_json(console: Console, value: Any) -> None:
    console.print(json.dumps(value, indent=2, ensure_ascii=False), markup=False)


def debugging() -> bool:
    return os.environ.get("ORCHESTRATE_DEBUG") == "1"
