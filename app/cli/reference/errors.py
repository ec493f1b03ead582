"""`errors.md`: every error the product raises on purpose, by its code."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import app
from app.cli.reference.markdown import GENERATED, code, page, table
from app.errors import ExecutionError, OrchestratorError


def errors_page() -> str:
    _load_everything()
    http = [kind for kind in _tree(OrchestratorError) if not issubclass(kind, ExecutionError)]
    execution = list(_tree(ExecutionError))
    return page(
        [
            GENERATED,
            "",
            "# Errors",
            "",
            "Every code is stable. An HTTP answer carries it in `error.code`; a task that failed, in `error.type`.",
            "",
            "## Answers",
            "",
            *table(("Code", "HTTP status", "Try again", "Title"), sorted({_row(kind) for kind in http})),
            "",
            "## Why a task failed",
            "",
            "*Try again* says whether the product itself makes another attempt while there is one left.",
            "",
            *table(("Type", "Try again", "Title"), sorted({(row[0], row[2], row[3]) for row in map(_row, execution)})),
        ]
    )


def _load_everything() -> None:
    """Errors live beside the code that raises them; only what is imported is in the tree."""
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def _tree(root: type[OrchestratorError]) -> Iterator[type[OrchestratorError]]:
    """The class and its descendants, without those that tests define."""
    if root.__module__.startswith("app."):
        yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def _row(kind: type[OrchestratorError]) -> tuple[str, str, str, str]:
    return code(kind.code), str(kind.status), "yes" if kind.retryable else "no", kind.title
