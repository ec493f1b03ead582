from io import StringIO
from typing import Any

from rich.console import Console

from app.cli.following import TaskEvent
from app.cli.progress import described
from app.cli.rendering import duration, print_task, print_tasks
from app.cli.terminal import clean

TASK: dict[str, Any] = {
    "task_id": "t-1",
    "status": "completed",
    "selected_agent": "ContentAgent",
    "peer_routing_reason": "It asks for an article.",
    "routing": {"agent_name": "ContentAgent", "confidence": 0.9},
    "created_at": "2026-11-01T12:00:00.000Z",
    "completed_at": "2026-11-01T12:00:01.500Z",
    "result": {
        "summary": "About queues.",
        "raw_output": "Queues [bold]matter[/bold].",
        "citations": [{"title": "Queues", "url": "https://example.org/q"}],
    },
    "cost": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "usd_estimate": 0.0000123},
}


def shown(task: dict[str, Any]) -> str:
    text = StringIO()
    print_task(Console(file=text, width=200), task)
    return text.getvalue()


def test_a_result_comes_with_its_citations_cost_and_routing_reason() -> None:
    text = shown(TASK)

    assert "completed by ContentAgent in 1.5 s" in text
    assert "It asks for an article. (confidence 0.90)" in text
    assert "15 tokens (10 in, 5 out), $0.000012" in text
    assert "[1] Queues - https://example.org/q" in text


def test_the_answer_is_text_and_not_markup() -> None:
    assert "Queues [bold]matter[/bold]." in shown(TASK)


def test_a_summary_is_not_repeated_although_the_answer_marks_its_words_up() -> None:
    result = {"summary": "checked_mul tells an overflow.", "raw_output": "`checked_mul` tells an overflow."}

    assert shown({**TASK, "result": result}).count("tells an overflow") == 1


def test_a_failure_tells_its_type_and_message() -> None:
    failed = {"task_id": "t", "status": "failed", "error": {"type": "UNKNOWN_TASK_TYPE", "message": "nobody can"}}

    assert "UNKNOWN_TASK_TYPE: nobody can" in shown(failed)


def test_a_task_without_anything_yet_can_be_shown() -> None:
    bare = {"task_id": "t", "status": "queued", "result": None, "error": None, "cost": None, "routing": None}

    assert "queued" in shown(bare)
    assert duration(bare) is None


def test_a_list_shows_each_task_in_one_row() -> None:
    text = StringIO()
    tasks = [{"task_id": "t-1", "status": "failed", "summary": "two\nlines"}, {"task_id": "t-2", "status": "queued"}]

    print_tasks(Console(file=text, width=200), tasks)

    lines = text.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:2] == ["t-1", "failed"]


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    assert clean("a\x1b[2Jb\tc\nd\u202e\x9b") == "a[2Jb\tc\nd"


def test_events_are_described_in_one_line() -> None:
    failed = {"status": "failed", "error_type": "TIMEOUT"}
    run = {"agent_name": "CodeAgent", "agent_role": "executor", "status": "success"}

    assert described(TaskEvent("message", failed)) == "failed (TIMEOUT)"
    assert described(TaskEvent("run", run)) == "run: CodeAgent executor success"
    assert described(TaskEvent("token", {"text": "a"})) is None
