"""The examples of the guides, run as they are printed but for the address."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.devstack.source import with_source
from tests.architecture.tree import ROOT
from tests.scenarios.stack import KEY, QUICK, Stack

GUIDES = ROOT / "docs" / "how-to"
ADDRESS = "http://localhost:8000"
PATIENCE = 60
_HTTP_STATUS = re.compile(r"^\[(\d{3})\]$", re.MULTILINE)


def examples(guide: str, language: str) -> list[str]:
    text = (GUIDES / guide).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(stack: Stack, folder: Path, code: str, *argv: str) -> "subprocess.CompletedProcess[str]":
    url = str(stack.client.base_url).rstrip("/")
    (folder / ".curlrc").write_text(f'silent\nheader = "X-API-Key: {KEY}"\nwrite-out = "\\n[%{{http_code}}]\\n"\n')
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CURL_HOME": str(folder),
        "ORCHESTRATE_URL": url,
        "ORCHESTRATE_API_KEY": KEY,
    }
    return subprocess.run(
        argv,
        input=code.replace(ADDRESS, url),
        cwd=folder,
        env=with_source({**os.environ, **QUICK, **own}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.long
@pytest.mark.skipif(shutil.which("curl") is None, reason="the guides use curl")
@pytest.mark.parametrize(
    ("guide", "statuses", "shown"),
    [
        # The second way to delete finds nothing any more.
        ("continue-a-session.md", [202, 202, 200, 200, 200, 404], "func Reverse"),
        ("stream-a-task.md", [200, 200], '"phase":"finished"'),
    ],
)
def test_the_commands_of_a_guide_do_what_it_says(
    stack: Stack, tmp_path: Path, guide: str, statuses: list[int], shown: str
) -> None:
    done = run(stack, tmp_path, "\n".join(examples(guide, "bash")), "bash", "-euo", "pipefail")

    assert done.returncode == 0, done.stderr
    assert [int(status) for status in _HTTP_STATUS.findall(done.stdout)] == statuses, done.stdout
    assert shown in done.stdout


def test_the_client_of_the_guide_shows_the_text_and_ends_with_the_task(stack: Stack, tmp_path: Path) -> None:
    (program,) = examples("stream-a-task.md", "python")

    done = run(stack, tmp_path, program, sys.executable, "-")

    assert done.returncode == 0, done.stderr
    assert done.stderr.split() == ["queued", "processing", "completed"]
    assert done.stdout.startswith("# Durable queues")
