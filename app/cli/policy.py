"""`orchestrate policy`: check and test policies; store, show, try out and remove that of a server."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask, print_page
from app.cli.exit_codes import ExitCode
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.policy_files import media_type_of, read_bytes, read_text, validate_policy_file
from app.cli.server import Json
from app.cli.terminal import clean, err, out, print_json
from app.governance.policy.cases import Verdict, judged, load_cases
from app.governance.policy.loading import load_policy

app = typer.Typer(
    no_args_is_help=True, help="Check and test policies; store, show, try out and remove that of a server."
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A policy, as YAML or JSON.")]
ExpectOption = Annotated[
    str | None, typer.Option("--expect", metavar="DIGEST", help="Only when this is the current version so far.")
]
_VERSION = "{:72} {:20} {}"


@app.command()
def validate(file: FileArgument, as_json: JsonOption = False) -> None:
    """Say whether a policy is valid, or everything that is wrong in it with line, column and fix."""
    found = validate_policy_file(file)
    if as_json:
        print_json(out, found)
    elif found["valid"]:
        out.print(Text(clean(f"{file} is valid: {found['digest']}")))
    else:
        _print_problems(file, found["problems"])
    if not found["valid"]:
        raise typer.Exit(ExitCode.USAGE)


@app.command("test")
def run_cases(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Tests: facts, and what has to be decided.")],
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="This policy instead of those that the tests name.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Decide about the facts of test files, and show what is decided otherwise than expected."""
    verdicts = [(file, verdict) for file in files for verdict in _judge(file, policy)]
    failed = [one for one in verdicts if not one[1].passed]
    if as_json:
        print_json(out, {"passed": len(verdicts) - len(failed), "failed": [_as_json(*one) for one in failed]})
    else:
        for file, verdict in failed:
            out.print(Text(clean(f"{file}: {verdict.case.name}"), style="bold"))
            out.print(Text(clean(f"  - expected {verdict.expected}"), style="red"))
            out.print(Text(clean(f"  + decided  {verdict.decided}"), style="green"))
        out.print(Text(f"{len(verdicts) - len(failed)} of {len(verdicts)} tests passed"))
    if failed:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def show(
    version: Annotated[str | None, typer.Option(metavar="DIGEST", help="Default: what holds now.")] = None,
    source: Annotated[bool, typer.Option("--source", help="Print the text as it was stored, no more.")] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the policy that holds, or one of its versions."""
    path = ("current",) if version is None else ("versions", version)
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.get("policies", *path))
    if as_json:
        print_json(out, found)
        return
    if not source:
        since = f" since {found['updated_at']} by {found['updated_by']}" if found.get("updated_at") else ""
        out.print(Text(clean(f"{found.get('digest')} {found.get('source') or ''}{since}".strip()), style="bold"))
    out.print(Text(clean(found.get("text") or "")), end="")


@app.command()
def versions(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions that were ever stored, newest first."""
    page = ask(Address(server, api_key, data_dir), lambda asked: asked.get("policies", "versions", page_size=limit))
    print_page(page, _print_versions, as_json=as_json)


@app.command()
def put(
    file: FileArgument,
    expect: ExpectOption = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let this policy hold for your tenant; everywhere within seconds."""
    text = read_text(file)
    media_type = media_type_of(file)
    stored = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.put_text("policies", "current", text=text, media_type=media_type, expected=expect),
    )
    if as_json:
        print_json(out, stored)
    else:
        out.print(Text(clean(f"the policy is stored: {stored.get('digest')}")))


@app.command()
def delete(
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Remove your tenant's policy; what the deployment configures holds from then on."""
    ask(Address(server, api_key, data_dir), lambda asked: asked.delete("policies", "current"))
    out.print(Text("the policy is removed"))


@app.command("dry-run")
def dry_run(
    file: FileArgument,
    steps: Annotated[bool, typer.Option("--steps", help="On steps of executions instead of tasks.")] = False,
    since: Annotated[datetime | None, typer.Option(help="Submitted or started then or later (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Submitted or started before (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many tasks or steps, newest first.")] = 100,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what this policy would have decided otherwise about past tasks or steps. Nothing is stored."""
    of = "steps" if steps else "tasks"
    body = {
        "policy": read_text(file),
        "of": of,
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "limit": limit,
    }
    found = ask(Address(server, api_key, data_dir), lambda asked: asked.post("policies", "dry-run", body=body))
    if as_json:
        print_json(out, found)
        return
    for one in found.get("changes") or ():
        before, after = one["before"]["effect"], one["after"]["effect"]
        reasons = "; ".join(one["after"]["reasons"])
        whose = one["task_id"] or f"{one['execution_id']} {one['path']}"
        out.print(Text(clean(f"{whose} {one['created_at']} {before} -> {after}: {reasons}")))
    changed = len(found.get("changes") or ())
    out.print(Text(f"{changed} of {found.get('examined')} {of} would have been decided otherwise"))


def _judge(file: Path, policy: Path | None) -> Iterable[Verdict]:
    cases = load_cases(read_bytes(file), source=str(file))
    path = policy or file.parent / cases.document.policy
    return judged(load_policy(read_bytes(path), source=str(path)), cases)


def _as_json(file: Path, verdict: Verdict) -> Json:
    return {
        "file": str(file),
        "name": verdict.case.name,
        "expected": {"effect": verdict.case.expect.value, "rule": verdict.case.rule},
        "decided": {
            "effect": verdict.decision.effect.value,
            "rule": verdict.decision.rule,
            "reasons": list(verdict.decision.reasons),
        },
    }


def _print_problems(file: Path, problems: Iterable[Json]) -> None:
    for one in problems:
        place = f"{file}:{one['line']}:{one['column']}: {one['path']}: "
        fix = f": {one['fix']}" if one.get("fix") else ""
        err.print(Text.assemble((clean(place), "bold"), clean(one["message"]), clean(fix)))


def _print_versions(console: Console, items: Iterable[Json]) -> None:
    console.print(Text(_VERSION.format("version", "stored first", "by"), style="bold"))
    for item in items:
        mark = " current" if item.get("current") else ""
        stored = clean(item.get("created_at"))[:16].replace("T", " ")
        by = clean(f"{item.get('created_by')}{mark}")
        console.print(Text(_VERSION.format(clean(item.get("digest")), stored, by)))
