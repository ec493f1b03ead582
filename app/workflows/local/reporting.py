"""A run for people: what happened step by step, what came out, and what it cost. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.workflows.costs import added
from app.workflows.local.history import History, StepRecord

LONGEST_SHOWN = 2000
_COLUMNS = ("step", "kind", "end", "attempts", "seconds", "tokens", "usd", "error")


def report_of(history: History, *, inputs: Any, outputs: Any) -> dict[str, Any]:
    """As JSON; durations in seconds, money in US dollars."""
    return {
        "execution_id": history.execution_id,
        "workflow": history.created["workflow"],
        "digest": history.digest,
        "status": history.status.value,
        "started_at": history.created["at"],
        "finished_at": history.finished_at,
        "seconds": _seconds(history.created["at"], history.finished_at),
        "resumed": history.resumed,
        "forked_from": history.created.get("forked_from"),
        "cost": history.cost(),
        "inputs": inputs,
        "outputs": outputs,
        "error": history.error,
        "approvals": history.approvals,
        "policy": history.policy,
        "steps": [_step(step) for step in history.steps.values()],
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    cost = report["cost"]
    lines = [
        f"# {report['workflow']}: {report['status']}",
        "",
        f"- execution: `{report['execution_id']}`",
        f"- definition: `{report['digest']}`",
        f"- started: {report['started_at']}, finished: {report['finished_at'] or 'not yet'}",
        f"- cost: ${cost['usd']:.6f}, {cost['tokens']:.0f} tokens, {cost['model_calls']:.0f} model calls",
    ]
    if report["policy"]:
        lines.append(f"- policy: `{report['policy']['digest']}` of {_cell(report['policy']['source'])}")
    if report["error"]:
        lines.append(f"- error: {_cell(report['error']['type'])}: {_cell(report['error']['message'])}")
    lines += [f"- {one['path']}: {_decision(one)}" for one in report["approvals"]]
    lines += ["", "## Steps", "", _row(_COLUMNS), _row("---" for _ in _COLUMNS)]
    lines += [_row(_shown(step)) for step in report["steps"]]
    lines += ["", "## Inputs", "", *_block(report["inputs"]), "", "## Outputs", "", *_block(report["outputs"])]
    return "\n".join(lines) + "\n"


def _step(step: StepRecord) -> dict[str, Any]:
    cost = added(attempt.cost for attempt in step.attempts if attempt.cost)
    return {
        "path": step.path,
        "kind": step.kind,
        "end": step.end or ("waiting" if step.waits_for else "unfinished"),
        "attempts": len(step.attempts),
        "seconds": cost["seconds"],
        "tokens": cost["tokens"],
        "usd": cost["usd"],
        "error": step.error,
        "waits_for": step.waits_for,
        "reused_from": step.reused_from,
        "artifacts": step.artifacts,
        "policy": step.policy,
    }


def _shown(step: Mapping[str, Any]) -> list[str]:
    error = f"{step['error']['type']}: {step['error']['message']}" if step["error"] else ""
    numbers = (f"{step['seconds']:.2f}", f"{step['tokens']:.0f}", f"{step['usd']:.6f}")
    return [f"`{step['path']}`", step["kind"] or "", step["end"], str(step["attempts"]), *numbers, error]


def _decision(approval: Mapping[str, Any]) -> str:
    verdict = "approved" if approval["approved"] else "rejected"
    return _cell(f"{verdict} by {approval['by']} at {approval['at']} {approval['comment']}".rstrip())


def _row(cells: Any) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _block(value: Any) -> list[str]:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}\n… ({len(text)} characters)"
    return ["~~~json", shown, "~~~"]


def _seconds(began: str, ended: str | None) -> float | None:
    if ended is None:
        return None
    return round((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds(), 3)
