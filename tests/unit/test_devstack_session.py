import os
from pathlib import Path

import pytest

from app.devstack.keeper import StartFailed
from app.devstack.lockfile import FolderLock, StackRunning
from app.devstack.manifest import Manifest
from app.devstack.notices import Notice
from app.devstack.session import Options, hermetic, open_stack, prepare
from app.settings import Settings


def ignore(notice: Notice) -> None:
    pass


def test_a_hermetic_environment_has_nothing_that_configures_us() -> None:
    environment = {"MONGO_URI": "x", "openai_api_key": "sk", "API_KEYS": "k", "PATH": "/bin", "HOME": "/root"}

    assert hermetic(environment) == {"PATH": "/bin", "HOME": "/root"}


def test_the_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "a" / "b")

    assert folder.is_absolute()
    assert {path.name for path in folder.iterdir()} == {"logs", "store", "mongod", "broker"}
    assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartFailed, match="--data-dir"):
        prepare(tmp_path / "file")


async def test_a_running_stack_refuses_a_second_and_tells_where_it_is(tmp_path: Path) -> None:
    lock = FolderLock.try_acquire(tmp_path)
    assert lock is not None
    running = Manifest(supervisor_pid=os.getpid(), api_url="http://x:1", environment={}, embedded=(), pids={})
    with lock:
        running.write(tmp_path)

        with pytest.raises(StackRunning, match=rf"http://x:1.*kill {os.getpid()}"):
            await open_stack(Options(tmp_path, port=0), Settings.model_construct(), ignore)


async def test_a_stack_that_just_takes_the_folder_refuses_a_second_too(tmp_path: Path) -> None:
    lock = FolderLock.try_acquire(tmp_path)
    assert lock is not None
    with lock, pytest.raises(StackRunning, match="already running"):
        await open_stack(Options(tmp_path, port=0), Settings.model_construct(), ignore)


async def test_a_stack_that_was_opened_and_stopped_leaves_the_folder_free(tmp_path: Path) -> None:
    stack = await open_stack(Options(tmp_path, port=0, hermetic=True), Settings.model_construct(), ignore)

    await stack.stop()

    again = FolderLock.try_acquire(tmp_path)
    assert again is not None
    again.release()
