"""The file in which workers tell what they do."""

from pathlib import Path

from tests.chaos.history import HistoryFile, HistoryReader


def test_a_look_at_the_history_finds_what_was_added_since_and_leaves_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    reader, file = HistoryReader(path), HistoryFile(path)

    file.note("start", "task-1")
    first = reader.events()
    file.note("start", "task-2")
    with path.open("a") as sink:
        sink.write('{"kind":"en')

    assert [event.task_id for event in first] == ["task-1"]
    assert [event.task_id for event in reader.events()] == ["task-1", "task-2"]
    assert [event.task_id for event in reader.events("task-2")] == ["task-2"]
    file.close()
