"""The verdict on an output for people: what was checked, what failed and why."""

from rich.console import Console
from rich.text import Text

from app.cli.server import Json
from app.cli.terminal import clean


def print_verdict(console: Console, verdict: Json) -> None:
    passed, rounds = bool(verdict.get("passed")), verdict.get("rounds") or 1
    again = f" after {rounds} rounds" if rounds > 1 else ""
    told = f"evaluation {'passed' if passed else 'failed'}: {_number(verdict, 'score')} of "
    needed = f"{_number(verdict, 'threshold')} needed{again}"
    console.print(Text(f"\n{told}{needed}", style="bold green" if passed else "bold red"))
    for check in verdict.get("checks") or ():
        _print_part(console, check, check.get("message"), style="" if check.get("passed") else "red")
    for criterion in verdict.get("criteria") or ():
        _print_part(console, criterion, criterion.get("reason"))


def _print_part(console: Console, part: Json, said: object, *, style: str = "") -> None:
    words = " ".join(clean(said or "").split())
    console.print(Text(f"  {_number(part, 'score')}  {clean(part.get('name'))}{': ' if words else ''}{words}", style))


def _number(part: Json, name: str) -> str:
    value = part.get(name)
    return f"{value:.2f}" if isinstance(value, int | float) else "-"
