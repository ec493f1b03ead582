"""`orchestrate replay`: run a task or steps again on what was recorded, or with something changed, and compare."""

import asyncio
import importlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.agents.prompt import replace_prompts, unknown_replacements
from app.cli.address import Address
from app.cli.exit_codes import ExitCode
from app.cli.installation import settings_of
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.replay_changes import Changes, read_changes
from app.cli.replay_targets import Target, Wanted, find_targets
from app.cli.replay_view import (
    print_run,
    print_step,
    print_summary,
    print_told,
    print_unreplayed,
    run_as_json,
    verdict_of,
)
from app.cli.server import Json, Server
from app.cli.terminal import out, print_json
from app.devstack.manifest import Manifest
from app.errors import Invalid, NotFound
from app.settings import load_settings

if TYPE_CHECKING:
    # It loads LangGraph and the models' clients, which takes as long as everything else together.
    from app.bootstrap.replaying import Replayer
    from app.replay.replaying import Replayed

SubjectId = Annotated[str, typer.Argument(metavar="ID", help="The id of a task, or of an execution.")]
StepOption = Annotated[
    str | None,
    typer.Option("--step", metavar="PATH", help="Of an execution: only this step instance, as in each[2].fix."),
]
SeriesOption = Annotated[
    int | None, typer.Option(min=1, help="With --step: the series of the execution; else the newest that has it.")
]
PromptOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FILE", help="Use this text for the prompt of that name, repeatable."),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(metavar="ROLE=MODEL", help="Ask this model for all calls of a role: content=openai:gpt-5."),
]
AgentOption = Annotated[str | None, typer.Option(help="Have another agent do the task or step; needs --live.")]
LiveOption = Annotated[bool, typer.Option("--live", help="Ask the models where the recording has no answer.")]
TOLD, NOT_DONE = "told", "not done"


def replay(
    subject_id: SubjectId,
    step: StepOption = None,
    series: SeriesOption = None,
    prompt: PromptOption = None,
    model: ModelOption = None,
    agent: AgentOption = None,
    live: LiveOption = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a task or steps again on the traffic that was recorded, free and the same every time, and compare.

    Of an execution it is one step, or every step in the order in which they began. An output that was evaluated is
    evaluated again; what no agent carried out is not done again, its recorded output is told. With a changed prompt,
    model or agent it says what comes out differently. Exit codes: 0 the same, 1 different, 8 a call was not recorded
    and --live was not given, 2 nothing was recorded or wrong usage.
    """
    changes = read_changes(prompt or (), model or (), agent=agent, is_live=live)
    wanted = Wanted(subject_id, step, series)
    player = _Player(Address(server, api_key, data_dir), changes, wanted, is_quiet=as_json)
    replayed = asyncio.run(player.run())
    if step is None and not any(one.runs for one in replayed):
        raise Invalid(f"no step of execution {subject_id} can be replayed: no agent ran, or RECORDING_MAX_BYTES is 0")
    if unknown := unknown_replacements():
        # Else a misspelt name would pass for a change that changes nothing.
        raise Invalid(f"--prompt: no agent that was replayed asked for a prompt named {', '.join(unknown)}")
    if as_json:
        print_json(out, _answer(wanted, replayed))
    elif len(replayed) > 1:
        print_summary(_counts(replayed))
    raise typer.Exit(_code(replayed, changes))


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one target: it was run again, or ``output`` told, or ``problem`` says why neither."""

    target: Target
    runs: "Sequence[Replayed]" = ()
    output: Any = None
    problem: str | None = None

    @property
    def verdict(self) -> str:
        """The worst of its runs'."""
        if self.problem is not None:
            return NOT_DONE
        verdicts = {verdict_of(one)[0] for one in self.runs}
        return next((verdict for verdict in ("diverged", "different", "same") if verdict in verdicts), TOLD)


class _Player:
    def __init__(self, address: Address, changes: Changes, wanted: Wanted, *, is_quiet: bool) -> None:
        self._address = address
        self._changes = changes
        self._wanted = wanted
        self._is_quiet = is_quiet

    async def run(self) -> list[Done]:
        """One after the other, so that only one's recordings are in memory."""
        async with self._address.connect() as server:
            targets = await find_targets(server, self._wanted)
            if len(targets) > 1 and self._changes.agent:
                raise Invalid("--agent is for one step: name it with --step")
            replace_prompts(self._changes.prompts)
            # After that: agents may keep their prompts.
            heavy = importlib.import_module("app.bootstrap.replaying")
            models, settings = self._changes.models, self._settings()
            async with heavy.open_replayer(
                settings, is_live=self._changes.is_live, live_roles=frozenset(models)
            ) as replayer:
                return [await self._do(server, replayer, one, is_only=len(targets) == 1) for one in targets]

    def _settings(self) -> Any:
        running = Manifest.find_running(self._address.data_dir or load_settings().data_dir)
        return settings_of(running, **{f"llm_{role}_model": model for role, model in self._changes.models.items()})

    async def _do(self, server: Server, replayer: "Replayer", target: Target, *, is_only: bool) -> Done:
        done = await self._done(server, replayer, target, is_only=is_only)
        if not self._is_quiet:
            _print(done, is_only=is_only)
        return done

    async def _done(self, server: Server, replayer: "Replayer", target: Target, *, is_only: bool) -> Done:
        if target.is_told:
            return Done(target, output=await target.output(server) if is_only else None)
        try:
            runs = await replayer.run(await target.recordings(server), self._changes.agent)
        except NotFound as missing:
            if is_only:
                raise
            # An agent that is gone, or a recording that is not there, says nothing about the other steps.
            return Done(target, problem=missing.message)
        return Done(target, runs)


def _print(done: Done, *, is_only: bool) -> None:
    if done.verdict == TOLD and not is_only:
        return
    if done.target.step is not None:
        print_step(done.target)
    if done.problem is not None:
        print_unreplayed(done.problem)
    elif done.verdict == TOLD:
        print_told(_why_told(done.target), json.dumps(done.output, indent=2, ensure_ascii=False))
    for one in done.runs:
        print_run(one)


def _why_told(target: Target) -> str:
    if target.reused_from is not None:
        return f"taken over from execution {target.reused_from}; its output was:"
    return f"a step of kind {target.kind} is not done again; its output was:"


def _answer(wanted: Wanted, replayed: Sequence[Done]) -> Json:
    first = replayed[0] if len(replayed) == 1 else None
    if first is not None and first.target.step is None:
        return {"task_id": wanted.subject_id, "runs": [run_as_json(one) for one in first.runs]}
    steps = [
        {
            "step": one.target.step,
            "kind": one.target.kind,
            **one.target.query,
            "verdict": one.verdict,
            "problem": one.problem,
            "output": one.output,
            "runs": [run_as_json(run) for run in one.runs],
        }
        for one in replayed
    ]
    return {"execution_id": wanted.subject_id, "steps": steps, "counts": _counts(replayed)}


def _counts(replayed: Sequence[Done]) -> dict[str, int]:
    found = Counter(one.verdict for one in replayed)
    return {verdict: found[verdict] for verdict in ("same", "different", "diverged", TOLD, NOT_DONE)}


def _code(replayed: Sequence[Done], changes: Changes) -> ExitCode:
    runs = [run for one in replayed for run in one.runs]
    if any(run.has_diverged for run in runs) and not changes.is_live:
        return ExitCode.DIVERGED
    is_whole = all(one.problem is None for one in replayed)
    return ExitCode.OK if is_whole and all(run.is_same for run in runs) else ExitCode.FAILED
