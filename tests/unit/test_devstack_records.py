"""What the supervisor keeps on disk and tells its reaper: manifest, lock, logs, registrations."""

import os
import stat
from pathlib import Path

import pytest

from app.devstack import manifest
from app.devstack.lockfile import FolderLock
from app.devstack.logfile import LogFile, Severity, parse, severity_of
from app.devstack.manifest import Manifest
from app.devstack.reaper import survivors


def a_manifest(pid: int) -> Manifest:
    return Manifest(
        supervisor_pid=pid,
        api_url="http://127.0.0.1:1",
        environment={"REDIS_URL": "redis://127.0.0.1:2/0"},
        embedded=("broker",),
        pids={"broker": 3},
    )


def test_a_manifest_is_read_back_and_belongs_to_its_owner_only(tmp_path: Path) -> None:
    a_manifest(os.getpid()).write(tmp_path)

    assert Manifest.find_running(tmp_path) == a_manifest(os.getpid())
    assert stat.S_IMODE((tmp_path / manifest.FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [manifest.FILE_NAME]


def test_a_manifest_of_a_dead_supervisor_is_not_a_running_stack(tmp_path: Path) -> None:
    a_manifest(2**22 + 1).write(tmp_path)

    assert Manifest.find(tmp_path) is not None
    assert Manifest.find_running(tmp_path) is None


@pytest.mark.parametrize("content", ["", "not JSON", "{}", "[]"])
def test_an_unreadable_manifest_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / manifest.FILE_NAME).write_text(content)

    assert Manifest.find(tmp_path) is None


def test_removing_twice_is_not_an_error(tmp_path: Path) -> None:
    a_manifest(1).write(tmp_path)

    manifest.remove(tmp_path)
    manifest.remove(tmp_path)

    assert Manifest.find(tmp_path) is None


def test_a_folder_is_locked_once_and_free_after_the_release(tmp_path: Path) -> None:
    first = FolderLock.try_acquire(tmp_path)
    assert first is not None
    assert FolderLock.try_acquire(tmp_path) is None

    first.release()

    again = FolderLock.try_acquire(tmp_path)
    assert again is not None
    again.release()


def test_a_log_begins_anew_keeps_the_one_before_and_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_bytes(b"yesterday\n")

    log = LogFile(path, limit=20)
    assert (tmp_path / "api.log.1").read_bytes() == b"yesterday\n"
    for number in range(10):
        log.write(b"line %d\n" % number)
    log.close()

    assert path.read_bytes() == b"line 8\nline 9\n"
    assert (tmp_path / "api.log.1").read_bytes() == b"line 6\nline 7\n"


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ('{"level": "warning", "event": "x"}', Severity.WARNING),
        ('{"level": "ERROR"}', Severity.ERROR),
        ('{"level": "critical"}', Severity.ERROR),
        ('{"level": "info"}', Severity.INFO),
        ('{"level": 7}', Severity.INFO),
        ("[1]", Severity.INFO),
        ("{broken", Severity.INFO),
        ("1:M 01 Jan # WARNING Memory overcommit", Severity.INFO),
    ],
)
def test_a_line_is_as_grave_as_our_own_records_say(line: str, severity: Severity) -> None:
    assert severity_of(parse(line)) is severity


def test_survivors_are_the_groups_registered_and_not_forgotten() -> None:
    assert survivors(["+11\n", "+12\n", "-11\n", "+13\n", "-99\n", "nonsense\n", "+14"]) == {12, 13}
