from dataclasses import replace

import pytest

from app.agents.content.characters import visible
from app.agents.content.sources import (
    LONGEST_MATERIAL,
    LONGEST_SNIPPET,
    LONGEST_TITLE,
    LONGEST_URL,
    ranked,
    read,
    usable,
)
from app.agents.links import canonical_url
from tests.fakes.agents import a_source

PAGE = "https://example.com/a/b?x=1&y=2"


@pytest.mark.parametrize(
    "url",
    [
        "http://EXAMPLE.com:80/a/b/?y=2&x=1",
        "https://www.example.com:443/a/b?x=1&utm_source=mail&y=2&fbclid=9",
        " https://example.com./a/b?x=1&y=2#:~:text=quoted",
    ],
)
def test_addresses_of_one_page_are_equal(url: str) -> None:
    assert canonical_url(url) == canonical_url(PAGE)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/A/b?x=1&y=2",
        "https://example.org/a/b?x=1&y=2",
        "https://example.com:8443/a/b?x=1&y=2",
        "https://example.com/a/b?x=1&y=2#section",
        "https://example.com/a/b?x=1&y=2&secret=3",
        "https://example.com@example.org/a/b?x=1&y=2",
    ],
)
def test_addresses_of_other_pages_are_not(url: str) -> None:
    assert canonical_url(url) != canonical_url(PAGE)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//example.com", "ftp://example.com", "", "http://[", "http://x:y"]
)
def test_what_is_no_web_address_has_no_canonical_form(url: str) -> None:
    assert canonical_url(url) is None


def test_a_page_that_several_searches_found_comes_first() -> None:
    one, two, three = a_source(1), a_source(2), a_source(3)

    assert ranked([[one, two], [three, two]]) == [two, one, three]


def test_the_order_does_not_depend_on_anything_but_the_findings() -> None:
    findings = [[a_source(n) for n in (3, 1, 2)], [a_source(n) for n in (5, 4)]]

    assert ranked(findings) == ranked(findings)
    assert [page.url[-1] for page in ranked(findings)] == ["3", "5", "1", "4", "2"]


@pytest.mark.parametrize(
    "broken",
    [
        {"snippet": " \u200b\n"},
        {"url": "javascript:alert(1)"},
        {"url": "https://example.com/a b"},
        {"url": 'https://example.com/"><b>'},
        {"url": "https://example.com/\u202e"},
        {"url": "https://example.com\\@example.org/"},
        {"url": f"https://example.com/{'a' * LONGEST_URL}"},
    ],
    ids=str,
)
def test_a_page_that_nothing_can_rest_on_is_left_out(broken: dict[str, str]) -> None:
    assert ranked([[replace(a_source(1), **broken), a_source(2)]]) == [a_source(2)]


def test_long_pages_and_titles_are_cut_at_a_word() -> None:
    page = usable(replace(a_source(1, "word " * 1000), title="title " * 1000))

    assert page is not None
    assert len(page.snippet) <= LONGEST_SNIPPET
    assert page.snippet.endswith("word…")
    assert len(page.title) <= LONGEST_TITLE


def test_pages_are_read_until_the_budget_is_used_up() -> None:
    pages = ranked([[a_source(n, f"{n} " * 1000) for n in range(1, 20)]])

    sources = read(pages, most=20)

    assert [page.url for page in sources] == [page.url for page in pages[: len(sources)]]
    assert len(sources) < 19
    size = sum(len(page.snippet) + len(page.title) + len(page.url) for page in sources)
    assert LONGEST_MATERIAL - 300 < size <= LONGEST_MATERIAL


def test_a_rest_too_small_to_say_anything_is_not_used() -> None:
    pages = [a_source(1, "a" * 900), a_source(2, "word " * 50)]

    assert len(read(pages, most=5, longest=1000)) == 1


def test_invisible_characters_are_taken_out() -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore")

    assert visible(f"a{hidden}\u202eb\u200bc\x1b[0m\ufeff\u00add\U000e0101\r\n\te") == "abc[0md\n\te"
    assert visible("می‌خواهم 👩‍💻 ❤️ plain") == "می‌خواهم 👩‍💻 ❤️ plain"
