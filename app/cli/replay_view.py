"""What `orchestrate replay` prints."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from app.cli.replay_targets import Target
from app.cli.terminal import clean, err, out

if TYPE_CHECKING:
    # It loads LangGraph and the models' clients, which takes as long as everything else together.
    from app.replay.replaying import Ending, Replayed, Scores

# Of the column with the verdicts.
WIDTH = 10
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def run_as_json(one: "Replayed") -> dict[str, Any]:
    return {**asdict(one), "is_same": one.is_same, "has_diverged": one.has_diverged}


def print_step(target: Target) -> None:
    out.print(Text.assemble((clean(target.step or ""), "bold"), (clean(f" ({target.kind})"), "dim")))


def print_told(why: str, output: str) -> None:
    """``output`` is as it was recorded."""
    out.print(Text.assemble((f"{'told':{WIDTH}}", "cyan"), clean(why)))
    for line in output.splitlines():
        out.print(Text(clean(f"{'':{WIDTH}}{line}"), style="dim"))


def print_unreplayed(why: str) -> None:
    out.print(Text.assemble((f"{'not done':{WIDTH}}", "yellow"), clean(why)))


def print_run(one: "Replayed") -> None:
    verdict, style = verdict_of(one)
    out.print(Text.assemble((f"{verdict:{WIDTH}}", style), clean(f"{one.agent_role} {one.agent_name}{_versions(one)}")))
    calls = f"{one.replayed_calls} calls replayed, {one.live_calls} live, {one.unused_calls} not made again"
    out.print(Text(f"{'':{WIDTH}}{calls}", style="dim"))
    out.print(Text(f"{'':{WIDTH}}{_measured('recorded', one.then)} · {_measured('now', one.now)}", style="dim"))
    if one.score is not None:
        out.print(Text(f"{'':{WIDTH}}{_scored(one.score)}", style="bold"))
    for divergence in one.divergences:
        err.print(Text(clean(f"not recorded: {divergence.kind} call for {divergence.name or 'tools'}"), style="yellow"))
        _print_lines(divergence.diff)
    for name, lines in one.differences.items():
        out.print(Text(clean(name), style="bold"))
        _print_lines(lines)


def print_summary(counts: dict[str, int]) -> None:
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    out.print(Text(f"{sum(counts.values())} steps: {told}", style="bold"))


def verdict_of(one: "Replayed") -> tuple[str, str]:
    """In a word, and in which style."""
    if one.is_same:
        return "same", "green"
    return ("diverged", "yellow") if one.has_diverged and not one.live_calls else ("different", "red")


def _versions(one: "Replayed") -> str:
    then, now = one.versions
    return "" if now is None else f" {now}" if then in (None, now) else f" {then} -> {now}"


def _measured(when: str, ending: "Ending") -> str:
    return f"{when}: {ending.duration_ms:.0f} ms, {ending.tokens} tokens, ${ending.usd:.6f}"


def _scored(score: "Scores") -> str:
    then, now = ("none" if value is None else f"{value:.2f}" for value in (score.then, score.now))
    difference = "" if score.then is None or score.now is None else f" ({score.now - score.then:+.2f})"
    return f"score recorded: {then} · now: {now}{difference}"


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        out.print(Text(clean(line), style=_STYLES.get(line[:1], "")))
