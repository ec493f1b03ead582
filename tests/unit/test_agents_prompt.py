import copy

import pytest

from app.agents.prompt import Prompt, load_prompt


@pytest.mark.parametrize("name", ["router", "content", "content_task", "code"])
def test_every_prompt_is_shipped(name: str) -> None:
    assert load_prompt(name).text


def test_values_are_put_in_once() -> None:
    rendered = Prompt("Task: $task. Sources: $sources.").render(task="$sources", sources="$task")

    assert rendered == "Task: $sources. Sources: $task."


def test_a_forgotten_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        Prompt("Task: $task").render()


def test_the_digest_changes_with_the_text_only() -> None:
    assert Prompt("a").digest == Prompt("a").digest != Prompt("b").digest


def test_a_copy_of_a_rendered_prompt_knows_its_prompt_as_well() -> None:
    prompt = Prompt("Task: $task", "greeting")

    copied = copy.deepcopy(prompt.render(task="a"))

    assert (copied, copied.name, copied.digest) == ("Task: a", "greeting", prompt.digest)
