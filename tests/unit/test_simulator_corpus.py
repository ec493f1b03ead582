from pathlib import Path

from app.llm.simulator.corpus import load_corpus, sections

GUIDE = """# The lease

A worker holds a **lease** [2] on each job; see [the kernel](kernel.md).

```python
# not a heading
```

| a | table |
|---|---|

## Heartbeat

It renews every few seconds.
"""


def test_a_page_is_a_heading_with_its_anchor_and_plain_text() -> None:
    lease, heartbeat = sections(GUIDE, "explanation/leases")

    assert lease.title == "The lease"
    assert lease.url == "https://docs.example.com/explanation/leases#the-lease"
    assert lease.text == "A worker holds a lease on each job; see the kernel."
    assert heartbeat.url.endswith("#heartbeat")


def test_a_name_in_code_keeps_its_underscores() -> None:
    (page,) = sections("# Due work\n\nIt waits for `not_before`, _never_ longer.\n", "due")

    assert page.text == "It waits for not_before, never longer."


def test_the_projects_own_documentation_is_found(tmp_path: Path) -> None:
    (tmp_path / "how-to").mkdir()
    (tmp_path / "how-to" / "leases.md").write_text(GUIDE)

    hits = load_corpus(tmp_path).search("Explain how the heartbeat works", most=3)

    assert hits[0].page.url == "https://docs.example.com/how-to/leases#heartbeat"


def test_without_a_docs_folder_general_pages_are_found() -> None:
    hits = load_corpus(Path("/nowhere")).search("Write an article about the history of coffee", most=5)

    assert [hit.page.title for hit in hits] == ["Coffee"]


def test_a_subject_nobody_wrote_about_finds_the_page_that_says_so() -> None:
    (hit,) = load_corpus(None).search("Who was Ada Lovelace?", most=5)

    assert hit.page.text.startswith("The simulated search found no page on this subject.")


def test_the_same_query_finds_the_same_pages() -> None:
    corpus = load_corpus(None)

    assert corpus.search("machine learning", most=5) == corpus.search("machine learning", most=5)
    assert corpus.search("machine learning", most=0) == []
