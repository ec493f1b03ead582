from pathlib import Path

import pytest

from app.agents.accuracy import Accuracy, ClassScores, Judged, RoutingCase
from app.cli.routing_cases import LIMITS, read_cases
from app.errors import Invalid

NAMES = ("CodeAgent", "ContentAgent")


def judged(expected: str, predicted: str, *tags: str) -> Judged:
    return Judged(RoutingCase("A task", expected, tags=tags), predicted, 0.9, "model_choice", "So.")


def test_accuracy_precision_recall_and_confusion_are_counted() -> None:
    accuracy = Accuracy(
        [
            judged("CodeAgent", "CodeAgent", "terse"),
            judged("CodeAgent", "ContentAgent", "terse"),
            judged("ContentAgent", "ContentAgent"),
            judged("Unknown", "ContentAgent"),
        ]
    )

    assert accuracy.share == 0.5
    assert accuracy.names == ["CodeAgent", "ContentAgent", "Unknown"]
    assert accuracy.classes == [
        ClassScores("CodeAgent", 1.0, 0.5, 2),
        ClassScores("ContentAgent", 1 / 3, 1.0, 1),
        ClassScores("Unknown", None, 0.0, 1),
    ]
    assert accuracy.confusion["CodeAgent"] == {"CodeAgent": 1, "ContentAgent": 1, "Unknown": 0}
    assert accuracy.confusion["Unknown"] == {"CodeAgent": 0, "ContentAgent": 1, "Unknown": 0}
    assert accuracy.by_tag == {"terse": 0.5}
    assert [one.case.expected for one in accuracy.wrong] == ["CodeAgent", "Unknown"]


def test_cases_are_read_with_the_lines_they_begin_on(tmp_path: Path) -> None:
    path = tmp_path / "cases.yaml"
    path.write_text(
        "# some cases\n"
        "- task: Sort a list\n"
        "  agent: CodeAgent\n"
        "  input: {mode: generate}\n"
        "  tags: [short]\n"
        "\n"
        "- {task: Hello, agent: Unknown}\n"
    )

    first, second = read_cases([path], NAMES)

    assert first == RoutingCase("Sort a list", "CodeAgent", {"mode": "generate"}, ("short",), f"{path}:2")
    assert (second.expected, second.place) == ("Unknown", f"{path}:7")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no case"),
        ("task: x", ":1: write a list"),
        ("- {task: x, agent: CodeAgent}\n- {task: x", ":2: it is not YAML"),
        ("- {task: x, agent: CodeAgent}\n- {task: x, agent: FlightAgent}", ":2: no agent 'FlightAgent'"),
        ("- {task: x, agent: CodeAgent, expected: y}", ":1: expected: Extra inputs"),
        ("- {task: '  ', agent: CodeAgent}", ":1: task: "),
        ("- {agent: CodeAgent}", ":1: task: Field required"),
        ("- just words", ":1: Input should be a valid dictionary"),
        ("- {task: x, agent: CodeAgent, input: {day: .nan}}", ":1: a number is not finite"),
        ("- {task: !!python/object/apply:os.system [ls], agent: CodeAgent}", ":1: tags are not allowed"),
        ("- &a [*a]", ":1: "),
    ],
)
def test_a_malformed_file_is_an_error_that_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cases.yaml"
    path.write_text(text)

    with pytest.raises(Invalid) as caught:
        read_cases([path], NAMES)

    assert said in caught.value.message


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary.yaml", tmp_path / "large.yaml"
    binary.write_bytes(b"\xff\xfe")
    large.write_bytes(b" " * (LIMITS.size + 1))

    for path, said in [(tmp_path / "absent.yaml", "No such file"), (binary, "not UTF-8"), (large, "bytes: split it")]:
        with pytest.raises(Invalid, match=said) as caught:
            read_cases([path], NAMES)
        assert str(path) in caught.value.message
