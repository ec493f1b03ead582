"""No link and no image leads where nobody searched; CommonMark's own parser is the judge."""

import random

import pytest

from app.agents.links import REMOVED, LinkFilter, addresses_in
from tests.rendering import strangers

KNOWN = "https://example.com/wind_(power)?a=1"
WRITTEN = "https://example.com/wind_%28power%29?a=1"
PIECES = (
    *"[]()!<>\\/:&#`~\"' \n",
    *("![", "](", "]:", "```", "~~~", "\n\n", "    ", "- ", "> ", "1. ", "[1]", "&#58;", "&colon;", "&#x2f;"),
    *("https://", "//", "evil.example", "/p?q=secret", "www.", "javascript:", "data:", "<img src=", "<a href=", "<!--"),
    *("-->", "<div>", "<script>", "https://evil.example/x", KNOWN, "text"),
)


def clean(text: str) -> tuple[str, int]:
    links = LinkFilter([KNOWN])
    return links.clean(text), links.removed


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("![a cat](https://evil.example/?q=1)", "a cat"),
        (f"![a chart]({KNOWN})", "a chart"),
        ("[here](https://evil.example/a_(b) 'title')", "here"),
        ("[here](<https://evil.example/a>)", "here"),
        ("[![x](https://evil.example/1)](https://evil.example/2)", "x"),
        (f"[here]({KNOWN})", f"[here]({WRITTEN})"),
        ("[here](http://www.example.com/wind_(power)?a=1&utm_source=secret)", f"[here]({WRITTEN})"),
        (f"See {KNOWN}.", f"See {WRITTEN}."),
        (f"<{KNOWN}>", f"<{WRITTEN}>"),
        ("See https://evil.example/x, or www.evil.example!", f"See {REMOVED}, or {REMOVED}!"),
        ("[x](//evil.example) and [y](javascript:alert(1))", "x and y"),
        ("[x](&#47;&#47;evil.example) [y](&#104;ttps://evil.example)", "x y"),
        ("参见https://evil.example/x", f"参见{REMOVED}"),
        (r"https:\/\/evil.example/x", REMOVED),
        ("https&#58;//evil.example/x", REMOVED),
        ("As said [1].\n\n[1]: //evil.example", "As said [1].\n\n[1] : //evil.example"),
        ('<img src="//evil.example/x">', '&lt;img src="//evil.example/x">'),
        ("[top](#start) and [next](other-page)", "[top](#start) and [next](other-page)"),
        ("`List<String>` and <br> and a < b", "`List<String>` and <br> and a < b"),
        ("handlers[name](event) and x[1]: int", "handlers[name](event) and x[1]: int"),
    ],
)
def test_what_leads_elsewhere_is_taken_out_and_the_rest_is_left(text: str, cleaned: str) -> None:
    assert clean(text)[0] == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "[x](\n//evil.example)",
        "[a\nb](https://evil.example)",
        r"[a\]b](https://evil.example)",
        "[a[b]](https://evil.example)",
        "![a][r]\n\n[r]: <https://evil.example>",
        "[r]\n\n[r]:\n  //evil.example",
        "> [r]: //evil.example\n\n[r]",
        "`` ` `` ![x](https://evil.example) `` ` ``",
        r"\`![x](https://evil.example)\`",
        "a ~~~ ![x](https://evil.example) ~~~",
        "1. a\n\n   ```\n\n![x](https://evil.example)",
        "<!--\n```\n-->\n![x](https://evil.example)\n```",
        "<javascript:alert(1)>",
        '<iframe src="//evil.example"',
        "<script>fetch('//evil.example')</script>",
        "htt[ps://](//x)evil.example",
        "[a][](//x)(//evil.example)",
        "![](https:evil.example)",
        "[x](/\\evil.example)",
        "[x](\\/\\/evil.example)",
        "[x](" + "a" * 3000 + "://evil.example)",
    ],
)
def test_no_disguise_gets_a_link_through(text: str) -> None:
    cleaned, _ = clean(text)

    assert strangers(cleaned, [WRITTEN]) == []


@pytest.mark.parametrize("seed", range(8))
def test_no_mixture_gets_a_link_through(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(250):
        text = "".join(dice.choice(PIECES) for _ in range(dice.randint(1, 30)))

        cleaned, _ = clean(text)

        assert strangers(cleaned, [WRITTEN]) == [], repr(text)


def test_the_judge_sees_what_was_not_cleaned() -> None:
    assert strangers("[a](//evil.example) ![b](c) <https://evil.example> <img src=x> www.evil.example") == [
        "//evil.example",
        "image:c",
        "https://evil.example",
        "markup:<img src=x>",
        "https://evil.example>",
        "www.evil.example",
    ]


def test_what_was_removed_is_counted() -> None:
    assert clean(f"![a](b) [c](https://evil.example) https://evil.example [d]({KNOWN})")[1] == 3


@pytest.mark.timeout(10)
@pytest.mark.parametrize("unit", ["<a ", "](http://x "])
def test_many_known_addresses_and_many_links_are_not_compared_one_by_one(unit: str) -> None:
    links = LinkFilter(f"https://example.com/{number}" for number in range(3000))

    assert links.clean(unit * (200_000 // len(unit)))


def test_addresses_are_found_without_the_end_of_the_sentence() -> None:
    assert addresses_in(f"Read {KNOWN}, then (https://example.org/b).") == [KNOWN, "https://example.org/b"]


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "unit", ["[", "![", "[](", "](", "<a", "https://", "&#58;", "[a](b ", "((", "]:", "]: ", "www."]
)
def test_hostile_text_does_not_hold_up_the_worker(unit: str) -> None:
    assert clean(unit * (200_000 // len(unit)))[0]
