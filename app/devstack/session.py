"""One run of the stack on a data folder: the lock, the ports, the supervised parts and the manifest."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from app.devstack import manifest, ports
from app.devstack.binaries import find_mongod, redis_server
from app.devstack.keeper import StartFailed
from app.devstack.lockfile import FolderLock, StackRunning
from app.devstack.manifest import Manifest
from app.devstack.notices import Notice, Started
from app.devstack.stack import BROKER, STORE, Binaries, Plan, Ports, Request, Simulation, plan_stack
from app.devstack.supervisor import Supervisor
from app.settings import Settings

_LOCK_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What `orchestrate up` was asked for. A hermetic stack ignores the caller's environment and `.env`: everything is
    embedded and every setting has its default. Port 0 picks a free one."""

    data_dir: Path
    port: int
    workers: int = 1
    concurrency: int | None = None
    allow_commands: bool = False
    hermetic: bool = False
    extra_environment: Mapping[str, str] | None = None
    simulation: Simulation | None = None


class Stack:
    """Built by `open_stack`; after `stop` (which may follow a failed `start`) no process and no lock is left."""

    def __init__(self, plan: Plan, data_dir: Path, lock: FolderLock, notify: Callable[[Notice], None]) -> None:
        self.plan = plan
        self.data_dir = data_dir
        self._lock = lock
        self._notify = notify
        self._supervisor = Supervisor(plan.parts, logs=data_dir / "logs", notify=self._hear, inherit=(lock.fd,))

    @property
    def pids(self) -> dict[str, int]:
        return self._supervisor.pids

    async def start(self) -> None:
        """Return when every part is ready; raise `StartFailed` otherwise."""
        await self._supervisor.start()

    async def stop(self) -> None:
        try:
            await self._supervisor.stop()
        finally:
            manifest.remove(self.data_dir)
            self._lock.release()

    def hurry(self) -> None:
        self._supervisor.hurry()

    def _hear(self, notice: Notice) -> None:
        if isinstance(notice, Started):
            self._write_manifest()
        self._notify(notice)

    def _write_manifest(self) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the manifest, not the stack
            Manifest(
                supervisor_pid=os.getpid(),
                api_url=self.plan.api_url,
                environment=dict(self.plan.urls),
                embedded=self.plan.embedded,
                pids=self._supervisor.pids,
            ).write(self.data_dir)


async def open_stack(options: Options, settings: Settings, notify: Callable[[Notice], None]) -> Stack:
    """Take the folder and plan the parts; nothing is started yet.

    Raises `StackRunning` with the running stack's URLs, `PortTaken`, `BinaryMissing`, or `StartFailed` when the folder
    cannot be written.
    """
    folder = prepare(options.data_dir)
    lock = await _lock(folder)
    try:
        request = _request(replace(options, data_dir=folder), settings)
        plan = plan_stack(request, _ports(options, settings), Binaries(find_mongod(), redis_server()))
        return Stack(plan, folder, lock, notify)
    except BaseException:
        lock.release()
        raise


def prepare(data_dir: Path) -> Path:
    """The folder with its subfolders, readable by its owner only, as an absolute path."""
    folder = data_dir.expanduser().resolve()
    try:
        for each in (folder, *(folder / name for name in ("logs", STORE, "mongod", BROKER))):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartFailed(f"{folder} cannot be used ({error.strerror}): choose another with --data-dir") from error
    return folder


async def _lock(folder: Path) -> FolderLock:
    """A killed supervisor's children hold the lock a moment longer: wait for them, but not for a living stack."""
    deadline = asyncio.get_running_loop().time() + _LOCK_PATIENCE
    while (lock := FolderLock.try_acquire(folder)) is None:
        running = Manifest.find(folder)
        alive = running is None or running.is_running
        if alive or asyncio.get_running_loop().time() > deadline:
            raise StackRunning(_refusal(folder, running))
        await asyncio.sleep(0.05)
    return lock


def _refusal(folder: Path, running: Manifest | None) -> str:
    what = f"a stack is already running on {folder}"
    if running is None:
        return f"{what}: stop it first, or choose another folder with --data-dir"
    return (
        f"{what} (pid {running.supervisor_pid}): API {running.api_url}, docs {running.api_url}/docs. "
        f"Stop it with: kill {running.supervisor_pid} - or choose another folder with --data-dir and --port 0"
    )


def _ports(options: Options, settings: Settings) -> Ports:
    api = ports.demand(options.port, _host(options, settings))
    store, broker, simulator = ports.free_ports(3)
    return Ports(store, broker, simulator, api)


def _host(options: Options, settings: Settings) -> str:
    return "127.0.0.1" if options.hermetic else settings.api_host


def _request(options: Options, settings: Settings) -> Request:
    environment = hermetic(os.environ) if options.hermetic else dict(os.environ)
    return Request(
        settings=Settings.model_construct() if options.hermetic else settings,
        environment={**environment, **(options.extra_environment or {})},
        data_dir=options.data_dir,
        folder=options.data_dir if options.hermetic else Path.cwd(),
        host=_host(options, settings),
        workers=options.workers,
        concurrency=options.concurrency,
        allow_commands=options.allow_commands,
        simulation=options.simulation,
    )


def hermetic(environment: Mapping[str, str]) -> dict[str, str]:
    """Without any variable that configures this product."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in environment.items() if name.upper() not in ours}
