"""Parsers over right, wrong and hostile sources; none of it is ever run."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.agents.base import OutputFile
from app.agents.code.verification.isolation import ParserHost, Source
from app.agents.code.verification.verdicts import UNREADABLE, Verdict
from app.agents.code.verification.verifier import LARGEST, Verifier

RIGHT = {
    "main.py": "def f(x: int) -> int:\n    return x + 1\n",
    "main.js": "export const f = (x) => x?.y ?? 1;\n",
    "main.ts": "const f = <T,>(x: T): T => x;\n",
    "main.tsx": "const A = () => <p className='a'>b</p>;\n",
    "main.go": "package main\n\nfunc main() {}\n",
    "Main.java": "record A(int x) {}\n",
    "main.rs": "fn main() { let x = 1; }\n",
    "main.c": "int main(void) { return 0; }\n",
    "main.cpp": "auto f() { return [](auto x) { return x; }; }\n",
    "Program.cs": 'System.Console.WriteLine("a");\n',
    "main.rb": "def f(x) = x + 1\n",
    "main.php": "<?php echo 'a';\n",
    "part.php": "echo 'a';\n",
    "main.sh": 'for x in 1 2; do echo "$x"; done\n',
    "index.html": "<p>a</p>\n",
    "style.css": "p { color: red; }\n",
    "query.sql": "SELECT a, COUNT(*) FROM b GROUP BY a;\n",
    "data.json": '{"a": [1, null]}\n',
    "data.toml": "a = 1\n[b]\nc = [1]\n",
}
WRONG = {
    "main.py": ("def f(:\n    pass\n", 1),
    "main.js": ("const a = 1;\nconst = 2;\n", 2),
    "main.ts": ("let x: = 1;\n", 1),
    "main.tsx": ("const A = () => <p>b</p;\n", 1),
    "main.go": ("package main\n\nfunc main( {\n}\n", 3),
    "Main.java": ("class A {\n  int f( { }\n}\n", 2),
    "main.rs": ("fn main() {\n  let = 1;\n}\n", 2),
    "main.c": ("int main(void) {\n  return 0\n}\n", 2),
    "main.cpp": ("int main() {\n  return 0\n}\n", 2),
    "Program.cs": ("class A {\n  void F( { }\n}\n", 2),
    "main.rb": ("def f(x\n  x\nend\n", None),
    "main.php": ("<?php\necho 'a'\necho 'b';\n", None),
    "main.sh": ("if true; then\n  echo a\n", None),
    "style.css": ("p { color: red;\n", None),
    "query.sql": ("SELECT FROM WHERE;\n", 1),
    "data.json": ('{"a": 1,}\n', 1),
    "data.toml": ("a = 1\nb =\n", 2),
}
LANGUAGE = {
    "py": "python", "js": "javascript", "ts": "typescript", "tsx": "typescript", "go": "go", "java": "java",
    "rs": "rust", "c": "c", "cpp": "cpp", "cs": "csharp", "rb": "ruby", "php": "php", "sh": "bash", "html": "html",
    "css": "css", "sql": "sql", "json": "json", "toml": "toml", "hs": "haskell", "scss": "css",
}  # fmt: skip
HOSTILE = {
    "main.py": ["(" * 90_000, "-" * 90_000 + "1", "a" + ".a" * 45_000, "a\0b", "1" * 50_000, "\udc80"],
    "data.json": ["[" * 90_000, "1" * 90_000, '{"a":' * 18_000, "\udc80"],
    "data.toml": ["a = " + "[" * 90_000, "a = " + "{b=" * 20_000],
    "main.go": ["(" * 90_000, "{" * 90_000, "a" + "()" * 45_000 + "{"],
    "main.js": ["`${" * 30_000, "<" * 90_000],
}  # fmt: skip


GO = Source("go", "package main")


def children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@contextmanager
def started_host() -> Iterator[tuple[ParserHost, int]]:
    host, before = ParserHost(), children()
    assert host.read([GO]) == [None]
    (process,) = children() - before
    yield host, process


def a_file(path: str, content: str) -> OutputFile:
    return OutputFile(path, content, LANGUAGE.get(path.rpartition(".")[2]))


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


async def verdict_of(verifier: Verifier, path: str, content: str, *, dialect: str | None = None) -> Verdict:
    (verdict,) = await verifier.verify([a_file(path, content)], dialect=dialect)
    return verdict


async def test_right_sources_of_every_language_are_read_by_its_parser(verifier: Verifier) -> None:
    verdicts = await verifier.verify([a_file(path, content) for path, content in RIGHT.items()])

    assert [(one.path, one.ok, one.problem) for one in verdicts] == [(path, True, None) for path in RIGHT]
    assert all(one.parser for one in verdicts)


@pytest.mark.parametrize("path", WRONG)
async def test_a_wrong_source_is_refused_with_the_place(verifier: Verifier, path: str) -> None:
    content, line = WRONG[path]

    verdict = await verdict_of(verifier, path, content)

    assert not verdict.ok
    assert verdict.problem is not None
    assert verdict.problem.message
    if line is not None:
        assert verdict.problem.line == line
        assert verdict.problem.excerpt in content


@pytest.mark.parametrize(("path", "source"), [(path, source) for path, all_of in HOSTILE.items() for source in all_of])
async def test_a_hostile_source_is_refused_and_harms_nobody(verifier: Verifier, path: str, source: str) -> None:
    verdict = await verdict_of(verifier, path, source)

    assert not verdict.ok
    assert verdict.problem is not None
    assert len(verdict.problem.message) < 300


@pytest.mark.long
async def test_a_source_that_never_ends_is_given_up_and_the_next_is_read(verifier: Verifier) -> None:
    endless = await verdict_of(verifier, "main.sh", "a" + "()" * 49_000)

    assert endless.problem == UNREADABLE
    assert (await verdict_of(verifier, "main.sh", "ls\n")).ok


async def test_no_message_quotes_the_source(verifier: Verifier) -> None:
    for path, source in (
        ("main.py", "canary canary"),
        ("data.toml", "canary = 1\ncanary = 2"),
        ("a.sql", "SELECT 'canary"),
    ):
        verdict = await verdict_of(verifier, path, source)

        assert verdict.problem is not None
        assert "canary" not in verdict.problem.message


async def test_a_source_that_is_too_long_is_not_read_at_all(verifier: Verifier) -> None:
    for path in ("main.py", "main.go", "query.sql"):
        verdict = await verdict_of(verifier, path, " " * (LARGEST + 1))

        assert (verdict.ok, verdict.parser, verdict.problem) == (False, None, None)
        assert verdict.note == f"{path} was not verified: it has more than {LARGEST} characters."


@pytest.mark.parametrize("path", ["Main.hs", "notes.txt", "style.scss"])
async def test_what_no_parser_reads_is_noted(verifier: Verifier, path: str) -> None:
    verdict = await verdict_of(verifier, path, "x = (")

    assert (verdict.ok, verdict.parser) == (False, None)
    assert verdict.note is not None


async def test_sql_is_read_in_the_dialect_that_is_named(verifier: Verifier) -> None:
    query = "SELECT TOP 3 [name] FROM people;"

    assert (await verdict_of(verifier, "query.sql", query)).ok
    assert not (await verdict_of(verifier, "query.sql", query, dialect="postgres")).ok


@pytest.mark.parametrize(
    "source", ["DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; END //", "VACUUM FULL big_table;"]
)
async def test_sql_that_its_parser_only_partly_knows_is_not_called_verified(verifier: Verifier, source: str) -> None:
    verdict = await verdict_of(verifier, "query.sql", source)

    assert (verdict.ok, verdict.problem) == (False, None)
    assert "cannot be verified here" in (verdict.note or "")


async def test_syntax_of_a_newer_python_is_not_called_wrong(verifier: Verifier) -> None:
    verdict = await verdict_of(verifier, "main.py", "type A = int\n")

    assert verdict.problem is None


async def test_nothing_of_a_source_is_run(verifier: Verifier, tmp_path: Path) -> None:
    trace = tmp_path / "was-run"

    await verifier.verify(
        [
            a_file("main.py", f"open({str(trace)!r}, 'w')\n"),
            a_file("main.sh", f"touch {trace}\n"),
            a_file("main.js", f"require('fs').writeFileSync('{trace}', '')\n"),
        ]
    )

    assert not trace.exists()


def test_the_parsers_see_no_key_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")

    with started_host() as (_, process):
        assert b"canary" not in Path(f"/proc/{process}/environ").read_bytes()


def test_a_host_that_was_killed_is_started_again() -> None:
    with started_host() as (host, process):
        os.kill(process, signal.SIGKILL)
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)

        assert host.read([GO]) == [None]


def test_a_host_ends_with_the_one_who_needs_it() -> None:
    with started_host() as (host, process):
        pass

    del host
    assert process not in children()


def test_many_threads_are_served_at_once() -> None:
    host, readings = ParserHost(), list[object]()
    threads = [threading.Thread(target=lambda: readings.extend(host.read([GO]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert readings == [None] * 8


def test_what_was_read_before_a_parser_died_still_counts() -> None:
    readings = ParserHost().read([GO, Source("unknown", "x"), GO])

    assert readings == [None, UNREADABLE, UNREADABLE]
