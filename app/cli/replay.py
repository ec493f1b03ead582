"""`orchestrate replay`: run a task again on what was recorded of it, or with something changed, and compare."""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.text import Text

from app.agents.prompt import replace_prompts, unknown_replacements
from app.cli.address import Address
from app.cli.exit_codes import ExitCode
from app.cli.installation import settings_of
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption, TaskId
from app.cli.server import Server
from app.cli.terminal import clean, err, out, print_json
from app.devstack.manifest import Manifest
from app.errors import Invalid
from app.llm.usage import ModelRole
from app.replay.models import Recording, RecordingUnreadable
from app.settings import load_settings

if TYPE_CHECKING:
    # It loads LangGraph and the models' clients, which takes as long as everything else together.
    from app.replay.replaying import Ending, Replayed, Scores

LARGEST_PROMPT = 256 * 1024
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class Changes:
    """What the command line wants to be different."""

    prompts: Mapping[str, str]
    models: Mapping[ModelRole, str]
    agent: str | None
    is_live: bool


def replay(
    task_id: TaskId,
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Use this text for the prompt of that name, repeatable."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=MODEL", help="Ask this model for all calls of a role: content=openai:gpt-5."),
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Have another agent do the task; needs --live.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the models where the recording has no answer.")] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a task again on its recorded model and tool traffic, free and the same every time, and compare.

    An output that was evaluated is evaluated again. With a changed prompt, model or agent it says what comes out
    differently. Exit codes: 0 the same, 1 different, 8 a call was not recorded and --live was not given, 2 nothing was
    recorded or wrong usage.
    """
    changes = Changes(_prompts(prompt or ()), _models(model or ()), agent, live)
    if changes.agent and not changes.is_live:
        raise Invalid("another agent asks other questions, which were not recorded: add --live")
    recordings = asyncio.run(_fetch(Address(server, api_key, data_dir), task_id))
    replayed = _replay(recordings, changes, data_dir)
    if as_json:
        print_json(out, {"task_id": task_id, "runs": [_as_json(one) for one in replayed]})
    else:
        for one in replayed:
            _print(one)
    raise typer.Exit(_code(replayed, changes))


async def _fetch(address: Address, task_id: str) -> list[Recording]:
    async with address.connect() as server:
        listed = (await server.get("tasks", task_id, "recordings")).get("items") or []
        return [await _recording(server, task_id, str(one["sha256"])) for one in listed]


async def _recording(server: Server, task_id: str, sha256: str) -> Recording:
    try:
        return Recording.model_validate(await server.get("tasks", task_id, "recordings", sha256))
    except ValidationError as error:
        raise RecordingUnreadable("the server's recording is not one that this version can read") from error


def _replay(recordings: Sequence[Recording], changes: Changes, data_dir: Path | None) -> "list[Replayed]":
    running = Manifest.find_running(data_dir or load_settings().data_dir)
    settings = settings_of(running, **{f"llm_{role}_model": model for role, model in changes.models.items()})
    # Before any agent is loaded, which may keep its prompts.
    replace_prompts(changes.prompts)
    heavy = importlib.import_module("app.bootstrap.replaying")
    work = heavy.replay_recordings(
        settings,
        recordings,
        agent=changes.agent,
        is_live=changes.is_live,
        live_roles=frozenset(changes.models),
    )
    replayed: list[Replayed] = asyncio.run(work)
    if unknown := unknown_replacements():
        # Else a misspelt name would pass for a change that changes nothing.
        raise Invalid(f"--prompt: no agent of this task asked for a prompt named {', '.join(unknown)}")
    return replayed


def _prompts(given: Sequence[str]) -> dict[str, str]:
    return {name: _text_of(path) for name, path in map(_pair, given)}


def _text_of(path: str) -> str:
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"--prompt: {path} cannot be read as UTF-8 text: {type(error).__name__}") from error
    if len(text) > LARGEST_PROMPT:
        raise Invalid(f"--prompt: {path} has {len(text)} characters; a prompt has at most {LARGEST_PROMPT}")
    return text


def _models(given: Sequence[str]) -> dict[ModelRole, str]:
    roles = ", ".join(ModelRole)
    try:
        return {ModelRole(role): model for role, model in map(_pair, given)}
    except ValueError as error:
        raise Invalid(f"--model: there is no such role; these are: {roles}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise Invalid(f"{text!r}: write it as NAME=VALUE")
    return name, value


def _code(replayed: "Sequence[Replayed]", changes: Changes) -> ExitCode:
    if any(one.has_diverged for one in replayed) and not changes.is_live:
        return ExitCode.DIVERGED
    return ExitCode.OK if all(one.is_same for one in replayed) else ExitCode.FAILED


def _as_json(one: "Replayed") -> dict[str, Any]:
    return {**asdict(one), "is_same": one.is_same, "has_diverged": one.has_diverged}


def _print(one: "Replayed") -> None:
    verdict, style = _verdict(one)
    out.print(Text.assemble((f"{verdict:9}", style), clean(f"{one.agent_role} {one.agent_name}{_versions(one)}")))
    calls = f"{one.replayed_calls} calls replayed, {one.live_calls} live, {one.unused_calls} not made again"
    out.print(Text(f"{'':9}{calls}", style="dim"))
    out.print(Text(f"{'':9}{_measured('recorded', one.then)} · {_measured('now', one.now)}", style="dim"))
    if one.score is not None:
        out.print(Text(f"{'':9}{_scored(one.score)}", style="bold"))
    for divergence in one.divergences:
        err.print(Text(clean(f"not recorded: {divergence.kind} call for {divergence.name or 'tools'}"), style="yellow"))
        _print_lines(divergence.diff)
    for name, lines in one.differences.items():
        out.print(Text(clean(name), style="bold"))
        _print_lines(lines)


def _verdict(one: "Replayed") -> tuple[str, str]:
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
