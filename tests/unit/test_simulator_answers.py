import pytest

from app.agents.base import OutputFile
from app.agents.code.verification.verifier import Verifier
from app.agents.markdown import code_blocks
from app.llm.simulator.coder import program
from app.llm.simulator.conversation import Source
from app.llm.simulator.example import example_of
from app.llm.simulator.writer import article, subject_of

SIMULATED = "Simulated answer: set OPENAI_API_KEY for a real model."
SOURCES = [Source(1, "Coffee", "Coffee came from Yemen. It spread by ship."), Source(2, "Tea", "Tea is older")]


def test_an_article_quotes_and_marks_its_sources_and_says_that_it_is_simulated() -> None:
    text = article("Write about coffee", SOURCES)

    assert text.startswith("# Coffee\n\nCoffee came from Yemen. [1]")
    assert "Tea is older. [2]" in text
    assert SIMULATED in text


def test_a_pages_own_markers_are_not_repeated() -> None:
    assert "[7" not in article("Tea", [Source(1, "Tea [7]", "Tea is old [7, 8]. It is [7-9] hot.")])


def test_an_article_without_sources_says_so_and_has_no_markers() -> None:
    text = article("Write about coffee", [])

    assert "without any web source" in text
    assert "[1]" not in text


@pytest.mark.parametrize(
    ("task", "subject"),
    [
        ("Write a short article about the benefits of tea", "The benefits of tea"),
        ("Explain quantum computing to me.", "Quantum computing"),
        ("Write a 3-paragraph essay on coffee", "Coffee"),
        ("tea", "Tea"),
        ("Explain", "Explain"),
    ],
)
def test_the_title_is_the_subject_of_the_task(task: str, subject: str) -> None:
    assert subject_of(task) == subject


@pytest.mark.parametrize(
    ("task", "language", "part"),
    [
        ("Write a Python function to reverse a string", "python", "def reverse_string"),
        ("Fibonacci numbers in Go", "go", "func Fibonacci"),
        ("factorial in JavaScript", "javascript", "function factorial"),
        ("palindrome check in js", "javascript", "isPalindrome"),
        ("Check whether a number is prime", "python", "def is_prime"),
        ("Sort a list", "python", "def merge_sort"),
        ("FizzBuzz, please", "python", "def fizzbuzz"),
        ("Sum a list of numbers", "python", "def sum_list"),
        ("An HTTP endpoint in Go", "go", "http.HandleFunc"),
        ("Reverse a string in Rust", "rust", "fn reverse_string"),
        ("A Python class for a bank account", "python", "def bank_account"),
        ("A bank account in Java", "java", "bankAccount"),
        ("Quicksort in Haskell", "haskell", "quicksort"),
        ('Say """ and \\ and $x in Python', "python", "def "),
    ],
)
def test_code_is_fenced_in_its_language_explained_and_marked_as_simulated(task: str, language: str, part: str) -> None:
    answer = program(task)
    (block,) = code_blocks(answer)

    assert block.tag == language
    assert part in block.body
    assert SIMULATED in answer.replace(block.body, "")


@pytest.mark.parametrize(
    "task",
    [
        "reverse a string",
        "fibonacci",
        "prime",
        "sort",
        "csv",
        "binary search",
        "count words",
        "an endpoint",
        'a \\ task "',
    ],
)
def test_python_answers_are_python(task: str) -> None:
    (block,) = code_blocks(program(task))

    compile(block.body, task, "exec")


CLASSICS = ("reverse a string", "fibonacci", "factorial", "palindrome", "prime numbers", "sum a list", "sort a list")
LANGUAGES = ("python", "javascript", "typescript", "go", "java", "rust", "bash", "sql")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_classics_are_valid_in_every_language(language: str) -> None:
    answers = [program(task, language) for task in (*CLASSICS, "hello world", "something else")]
    files = [OutputFile(f"{n}.txt", code_blocks(answer)[0].body, language) for n, answer in enumerate(answers)]

    verdicts = await Verifier().verify(files)

    assert [verdict.problem for verdict in verdicts] == [None] * len(files)
    assert all(verdict.ok for verdict in verdicts)
    assert len({file.content for file in files}) == len(files)


def test_an_example_fits_its_schema() -> None:
    schema = {
        "$defs": {"Tag": {"enum": ["a", "b"]}},
        "properties": {
            "score": {"type": "number", "minimum": 0.5},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}},
            "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "ok": {"type": "boolean"},
            "kind": {"const": "x"},
        },
    }

    assert example_of(schema) == {"score": 0.5, "tags": ["a"], "note": None, "ok": True, "kind": "x"}


def test_a_schema_that_contains_itself_has_an_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}}

    assert example_of({"$ref": "#/$defs/Node", "$defs": {"Node": {**node, "properties": {}}}}) == {}
