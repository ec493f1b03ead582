"""One process's work on a run, put together. Heavy: it loads LangGraph."""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.agents.metering import Meter
from app.agents.registry import build_registry
from app.cli.installation import settings_of
from app.cli.run_governing import governing_of, source_of
from app.cli.run_people import me
from app.cli.run_view import RunView
from app.clock import utc_now
from app.devstack.child import tethered
from app.devstack.lockfile import FolderLock
from app.devstack.manifest import Manifest
from app.devstack.reaper import Reaper
from app.devstack.simulated import lacks_model, simulated
from app.errors import Conflict, Invalid
from app.ids import new_id
from app.settings import Settings, load_settings
from app.workflows.handover import checked_inputs
from app.workflows.language.expressions import Expressions
from app.workflows.language.loading import Definition
from app.workflows.local.agents import Agents, Equipment
from app.workflows.local.approving import Approving
from app.workflows.local.checking import check_answers, check_effects
from app.workflows.local.evidence import Evidence
from app.workflows.local.history import RunStatus
from app.workflows.local.people import People
from app.workflows.local.policy import Governing, LocalPolicy
from app.workflows.local.runner import Means, Runner
from app.workflows.local.runs import Beginning, OpenRun, RunChanged, folder_of
from app.workflows.local.steps import Steps, Surroundings
from app.workflows.places import steps_in
from app.workflows.plan import Plan
from app.workflows.steps.commands import Guard
from app.workflows.steps.masking import SHORTEST_SECRET


@dataclass(frozen=True, slots=True)
class Session:
    """How a run is carried out; ``root`` is the folder of all runs, ``data_dir`` that of a stack that may run.

    ``policy`` is the file of what every step and call of a tool is asked about.
    """

    root: Path
    data_dir: Path
    people: People
    view: RunView
    concurrency: int
    policy: Path | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """``asked`` are the names of the questions that wait for an answer, as `--approve` takes them."""

    execution_id: str
    folder: Path
    status: RunStatus
    outputs: Any
    error: Mapping[str, Any] | None
    asked: tuple[str, ...] = ()


class RunBusy(Conflict):
    code = "RUN_BUSY"
    title = "Run in progress"


class RunOver(Conflict):
    code = "RUN_OVER"
    title = "Run has ended"


async def run_new(session: Session, definition: Definition, source: str, inputs: Mapping[str, Any]) -> Finished:
    """``inputs`` are checked. Raises `Invalid` for secrets that are not set."""
    governing = check_plan(definition.plan, session)
    beginning = _beginning(definition, source, inputs)
    with _locked(session.root / beginning.execution_id) as opened:
        opened.watch = session.view.watch
        await opened.begin(beginning)
        return await _carry_out(session, governing, definition.plan, opened, inputs)


async def run_on(session: Session, definition: Definition, execution_id: str, *, accepts_changes: bool) -> Finished:
    """Raises `RunNotFound`, `RunBusy`, `RunOver`, and `RunChanged` with nothing written."""
    governing = check_plan(definition.plan, session)
    with _locked(folder_of(session.root, execution_id)) as opened:
        history = opened.history
        if history.status.is_final:
            opened.seal()
            raise RunOver(f"run {execution_id} has {history.status}: `--from STEP` begins another one with its outputs")
        check_digest(history.digest, definition.digest, accepts_changes=accepts_changes)
        opened.watch = session.view.watch
        inputs = checked_inputs(definition.workflow, await opened.inputs())
        opened.resume(definition.digest, definition.as_json())
        return await _carry_out(session, governing, definition.plan, opened, inputs)


async def run_fork(
    session: Session, definition: Definition, execution_id: str, step: str, *, accepts_changes: bool
) -> Finished:
    """A new run that takes over the outputs of steps before ``step``. Raises as `run_on` does."""
    governing = check_plan(definition.plan, session)
    if step not in definition.workflow.steps:
        raise Invalid(f"--from {step}: the workflow has {', '.join(definition.workflow.steps)}")
    parent = Evidence(folder_of(session.root, execution_id))
    with _locked(parent.folder) as forked:
        history = forked.history
        check_digest(history.digest, definition.digest, accepts_changes=accepts_changes)
        inputs = checked_inputs(definition.workflow, await forked.inputs())
        origin = {"execution_id": execution_id, "step": step}
        beginning = _beginning(definition, str(history.created["source"]), inputs, origin)
        with _locked(session.root / beginning.execution_id) as opened:
            opened.watch = session.view.watch
            await opened.begin(beginning)
            await opened.take_over(parent, definition.plan, step)
            return await _carry_out(session, governing, definition.plan, opened, inputs)


def check_digest(recorded: str, digest: str, *, accepts_changes: bool) -> None:
    """Raises `RunChanged`."""
    if recorded != digest and not accepts_changes:
        raise RunChanged(
            "the workflow has changed since this run began, and nothing was done: bring back the definition it began "
            "with (definition.json of the run has it), or go on with the new one by --accept-changes",
            recorded=recorded,
            digest=digest,
        )


def check_plan(plan: Plan, session: Session) -> Governing | None:
    """The policy that it is run under. Raises `Invalid` for what would keep it from being run here."""
    check_secrets(plan)
    check_answers(plan, session.people.approvals, me=me(), is_governed=session.policy is not None)
    if any(step.agent for step in steps_in(plan)):
        settings = load_settings()
        check_effects(plan, build_registry(settings), settings.mcp_servers)
    return governing_of(session.policy)


def check_secrets(plan: Plan) -> None:
    """Raises `Invalid`, naming all that are missing or cannot be masked."""
    names = sorted({name for step in steps_in(plan) for name in step.secrets})
    if missing := [name for name in names if name not in os.environ]:
        raise Invalid(f"secrets are variables of the environment, and these are not set: {', '.join(missing)}")
    if short := [name for name in names if len(os.environ[name]) < SHORTEST_SECRET]:
        raise Invalid(f"secrets of less than {SHORTEST_SECRET} characters cannot be masked: {', '.join(short)}")


def cancel_run(root: Path, execution_id: str) -> bool:
    """Ask the process that works on the run to stop it; one that nobody works on is ended here.

    True when it has ended. Raises `RunNotFound` or `RunOver`.
    """
    folder = folder_of(root, execution_id)
    Evidence(folder).cancel_request.touch()
    try:
        with _locked(folder) as opened:
            if opened.history.status.is_final:
                raise RunOver(f"run {execution_id} has {opened.history.status} already")
            opened.note("run.cancelled")
            opened.note("run.ended", status=RunStatus.CANCELLED.value, outputs=None, error=None)
            opened.seal()
    except RunBusy:
        return False
    return True


def _beginning(
    definition: Definition, source: str, inputs: Mapping[str, Any], forked_from: Mapping[str, Any] | None = None
) -> Beginning:
    return Beginning(
        new_id(), definition.workflow.name, definition.digest, source, inputs, definition.as_json(), forked_from
    )


@contextmanager
def _locked(folder: Path) -> Iterator[OpenRun]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FolderLock.try_acquire(folder)
    if lock is None:
        raise RunBusy(f"another process works on run {folder.name}: wait for it, or `orchestrate cancel {folder.name}`")
    with lock, OpenRun.open(folder, clock=utc_now) as opened:
        yield opened


async def _carry_out(
    session: Session, governing: Governing | None, plan: Plan, opened: OpenRun, inputs: Mapping[str, Any]
) -> Finished:
    if governing is not None and opened.history.policy != (source := source_of(session.policy, governing.policy)):
        opened.note("run.governed", **source)
    opened.save()
    values, history, evidence = Expressions(), opened.history, opened.evidence
    async with _equipment(session, plan, evidence) as equipment, _guard(plan) as guard:
        policy = _policy_of(governing, session, plan, opened)
        agents = _agents_of(equipment, opened, policy)
        surroundings = Surroundings(os.environ, guard, utc_now, opened.note)
        means = Means(
            values,
            Steps(values, evidence, agents, session.people, surroundings, policy),
            equipment.new_meter if equipment else Meter,
            equipment.price if equipment else _no_price,
            equipment.max_tokens if equipment else 0,
            session.concurrency,
        )
        with session.view.shown():
            status = await Runner(opened, plan, means).run(inputs)
    outputs = await evidence.get(evidence.outputs, history.outputs) if history.outputs else None
    return Finished(history.execution_id, evidence.folder, status, outputs, history.error, history.waiting_answers())


def _policy_of(governing: Governing | None, session: Session, plan: Plan, opened: OpenRun) -> LocalPolicy | None:
    if governing is None:
        return None
    approving = Approving(session.people, opened.note, clock=utc_now)
    return LocalPolicy(governing, plan, opened.history, approving, opened.note, clock=utc_now)


def _agents_of(equipment: Equipment | None, opened: OpenRun, policy: LocalPolicy | None) -> Agents | None:
    if equipment is None:
        return None
    artifacts = opened.evidence.artifacts
    return Agents(equipment, artifacts, execution_id=opened.history.execution_id, policy=policy)


@asynccontextmanager
async def _equipment(session: Session, plan: Plan, evidence: Evidence) -> AsyncIterator[Equipment | None]:
    """None for a plan that has no use for agents and models, which take a second to load."""
    if not any(step.agent or step.task or step.evaluate for step in steps_in(plan)):
        yield None
        return
    settings = settings_of(Manifest.find_running(session.data_dir))
    heavy = importlib.import_module("app.bootstrap.local_runs")
    async with _reachable(settings, evidence) as reached, heavy.equipped(reached) as equipment:
        yield equipment


@asynccontextmanager
async def _reachable(settings: Settings, evidence: Evidence) -> AsyncIterator[Settings]:
    if not lacks_model(settings):
        yield settings
        return
    async with simulated(settings, logs=evidence.folder) as known:
        yield settings_of(None, **known)


@asynccontextmanager
async def _guard(plan: Plan) -> AsyncIterator[Guard]:
    """Programs end with this process, however it ends."""
    if not any(step.command for step in steps_in(plan)):
        yield Guard()
        return
    reaper = Reaper.start()
    try:
        yield Guard(tethered, reaper.register, reaper.forget)
    finally:
        await asyncio.to_thread(reaper.stop)


def _no_price(_model: str, _usage: Any) -> float | None:
    return None
