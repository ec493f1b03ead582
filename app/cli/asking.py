"""Asks a server, and prints what it answers in the ways that many commands do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rich.console import Console
from rich.text import Text

from app.cli.address import Address
from app.cli.server import Json, Server
from app.cli.terminal import clean, err, out, print_json


def ask(address: Address, question: Callable[[Server], Awaitable[Json]]) -> Json:
    async def asked() -> Json:
        async with address.connect() as server:
            return await question(server)

    return asyncio.run(asked())


def print_found(found: Json, print_one: Callable[[Console, Json], None], *, as_json: bool) -> None:
    if as_json:
        print_json(out, found)
    else:
        print_one(out, found)


def print_page(page: Json, print_rows: Callable[[Console, Sequence[Json]], None], *, as_json: bool) -> None:
    """The rows, and how many there are in all."""
    if as_json:
        print_json(out, page)
        return
    items = page.get("items") or []
    print_rows(out, items)
    total = (page.get("meta") or {}).get("total_items", len(items))
    err.print(Text(f"{len(items)} of {total}", style="dim"))


def print_answer(answer: Json, *, as_json: bool, otherwise: str) -> None:
    if as_json:
        print_json(out, answer)
        return
    said = next((answer[name] for name in ("explanation", "why", "reason", "message") if answer.get(name)), otherwise)
    out.print(Text(clean(said)))
