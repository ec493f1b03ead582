"""`orchestrate logs`: search the kept logs of workers and agents, or follow them."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.server import Json, Server
from app.cli.terminal import clean, out
from app.logs.models import LogLevel

PAUSE = 1.0
# Lines of one moment may come in a little later than others.
OVERLAP = timedelta(seconds=5)
MOST_REMEMBERED = 20_000
_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red"}
_NAMES = ("logger", "task_id", "execution_id", "step", "agent")


def logs(
    words: Annotated[list[str] | None, typer.Argument(metavar="WORDS", help="Whole words, all of them.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only of this task.")] = None,
    execution: Annotated[str | None, typer.Option("--execution", help="Only of this execution.")] = None,
    level: Annotated[LogLevel, typer.Option(help="The least.")] = LogLevel.DEBUG,
    since: Annotated[str | None, typer.Option("--from", help="At or after this time (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this time (ISO 8601).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many of the newest.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes in, until Ctrl-C.")] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search the kept logs of workers and agents, or follow them.

    The newest line is the last; as JSON there is one object per line.
    """
    filters = {"q": " ".join(words or ()), "task_id": task, "execution_id": execution, "level": level.value}
    query = {**{name: value for name, value in filters.items() if value}, **_times(since, until)}
    address = Address(server, api_key, data_dir)
    page = ask(address, lambda asked: asked.get("logs", page_size=limit, **query))
    lines = list(reversed(page.get("items") or []))
    _print_lines(lines, as_json=as_json)
    if follow:
        asyncio.run(_follow(address, query, lines, as_json=as_json))


def _times(since: str | None, until: str | None) -> dict[str, str]:
    return {name: value for name, value in (("from", since), ("to", until)) if value}


async def _follow(address: Address, query: dict[str, str], lines: Sequence[Json], *, as_json: bool) -> None:
    following = Following(query, lines)
    async with address.connect() as asked:
        while True:
            _print_lines(await following.read_new(asked), as_json=as_json)
            await asyncio.sleep(PAUSE)


class Following:
    """Asks for what was received since, with an overlap, and tells each line once."""

    def __init__(self, query: dict[str, str], seen: Sequence[Json]) -> None:
        self._query = query
        self._seen = dict.fromkeys(str(line.get("id")) for line in seen)
        received = [str(line.get("received_at")) for line in seen]
        # A server whose clock is behind ours has lines that we would take for old ones.
        self._since = max(received) if received else (datetime.now(UTC) - OVERLAP).isoformat()

    async def read_new(self, asked: Server) -> list[Json]:
        """Oldest first."""
        begin = (datetime.fromisoformat(self._since) - OVERLAP).isoformat()
        found: list[Json] = []
        cursor: str | None = None
        while True:
            page = await asked.get("logs", **self._query, received_from=begin, page_size=100, cursor=cursor)
            found += page.get("items") or []
            cursor = page.get("next_cursor")
            if cursor is None:
                return self._new(found)

    def _new(self, found: Sequence[Json]) -> list[Json]:
        new = [line for line in reversed(found) if str(line.get("id")) not in self._seen]
        for line in new:
            self._seen[str(line.get("id"))] = None
            self._since = max(self._since, str(line.get("received_at")))
        for old in list(self._seen)[: max(0, len(self._seen) - MOST_REMEMBERED)]:
            del self._seen[old]
        return new


def _print_lines(lines: Sequence[Json], *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            out.print(Text(json.dumps(line)))
        else:
            out.print(_told(line))


def _told(line: Json) -> Text:
    at, level = str(line.get("at"))[:23].replace("T", " "), str(line.get("level"))
    names = {name: line[name] for name in _NAMES if line.get(name)}
    fields = line.get("fields") or {}
    facts = " ".join(f"{name}={value}" for name, value in {**names, **fields}.items())
    # One line each, whatever is in it.
    text = " ".join(clean(f"{line.get('message')}  {facts}").split())
    return Text.assemble(clean(at), " ", (f"{clean(level):8}", _STYLES.get(level, "")), " ", text)
