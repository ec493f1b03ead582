"""Commands that are listed without being loaded: the libraries that one needs cost no other its start."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Deferred(TyperCommand):
    """Stands for a command, or a group of them, that is the ``attribute`` of a module."""

    def __init__(self, name: str, module: str, attribute: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self._module = module
        self._attribute = attribute

    # Typer carries Click inside it as a private package, so its commands have no public type.
    def load(self) -> Any:
        found = getattr(import_module(self._module), self._attribute)
        parent = typer.Typer()
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=self.name)
        else:
            parent.command(self.name)(found)
        return get_group(parent).commands[str(self.name)]


class LazyGroup(TyperGroup):
    """Loads the one that is called."""

    deferred: ClassVar[Sequence[Deferred]] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in self.deferred:
            self.add_command(command)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, loaded(command), rest


def loaded(command: Any) -> Any:
    return command.load() if isinstance(command, Deferred) else command
