import pytest

from app.agents.content.paragraphs import factual_paragraphs, uncited

ARTICLE = """# Wind

Wind power is *cheap* [1].
It grows fast.

How it works
------------

**Three parts**

The parts are:

- a rotor
- a tower [2]

  with stairs

| part | cost |
|---|---|
| rotor | 1 |

To see it, run:

```bash
curl localhost
```

> It turns.

See also:

* [Towers](https://example.com/2)
* <https://example.com/1> [1]

Why does it turn?

_An aside: my_own_words. Two sentences._

***

Dear reader
"""


def test_what_states_something_needs_a_citation_and_nothing_else_does() -> None:
    assert factual_paragraphs(ARTICLE) == [
        "Wind power is *cheap* [1].\nIt grows fast.",
        "The parts are:\n\n- a rotor\n- a tower [2]\n\n  with stairs",
        "| part | cost |\n|---|---|\n| rotor | 1 |",
        "> It turns.",
    ]
    assert uncited(factual_paragraphs(ARTICLE)) == [3, 4]


@pytest.mark.parametrize(
    "text",
    [
        "Cheap.",
        "风能很便宜。",
        "Solar fell by 90 % in ten years",
        "Is it cheap? Yes, it is.",
        "- [Towers](https://example.com/2) are high",
        "1. One\n2. Two",
        "A label that is much too long to be one because it goes on and on",
        "It costs:\n\nnothing at all.",
        "_One_ aside is _not the whole paragraph._ It costs 1.",
        "Before a list:\n- item",
    ],
)
def test_a_statement_in_any_dress_needs_a_citation(text: str) -> None:
    assert uncited(factual_paragraphs(text))


@pytest.mark.parametrize(
    "text",
    [
        "## Heading 2024",
        "Dear reader,",
        "**Advantages**",
        "Is it cheap?",
        "Run this:\n\n```\nx\n```",
        "~~~\ncode.\n~~~",
        "---",
        "- <https://example.com/1>\n- [b](https://example.com/2)",
        "_Not checked._",
        "Heading\n=======",
    ],
)
def test_what_states_nothing_needs_no_citation(text: str) -> None:
    assert factual_paragraphs(text) == []


@pytest.mark.timeout(10)
@pytest.mark.parametrize("unit", ["- ", "a:\n\n", "[", "_a", "[a](", "| ", "> \n", "\n\n- a"])
def test_hostile_text_does_not_hold_up_the_worker(unit: str) -> None:
    assert isinstance(factual_paragraphs(unit * (100_000 // len(unit))), list)
