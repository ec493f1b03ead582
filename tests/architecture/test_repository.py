"""What the repository holds, what it is called, and what must not be in it."""

import re
from pathlib import Path

import pytest

from app.settings import Settings
from tests.architecture.markdown import Page, pages, read_page
from tests.architecture.tree import ROOT, modules, repository_files, texts

TOP_LEVEL = {
    ".ci", ".dockerignore", ".env.example", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile",
    "LICENSE", "Makefile", "README.md", "SECURITY.md", "app", "docs", "infra", "pyproject.toml", "tests", "worker",
}  # fmt: skip
MOODS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "stuff"}
# Spelled in parts, so that this file does not contain what it forbids.
MACHINE_PATH = re.compile(rf"(?<![\w.~-]){re.escape('/')}(?:work|home|root|Users)/\w")
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"), ("deb", "debian", "org"))
)
EXAMPLE_LINE = re.compile(r"#([A-Z][A-Z0-9_]+)=(.*)")
COMPOSE_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]+)")


def _example_environment() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return {found[1]: found[2] for found in map(EXAMPLE_LINE.fullmatch, lines) if found}


def _variables_of_the_composition() -> set[str]:
    return set(COMPOSE_VARIABLE.findall((ROOT / "infra/compose.yaml").read_text(encoding="utf-8")))


def _broken_links(page: Page) -> list[str]:
    return [link for link in page.links if not _resolves(link, page)]


def _resolves(link: str, page: Page) -> bool:
    if re.match(r"[a-z]+:", link):
        return True
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or target.suffix != ".md" or anchor in read_page(target).anchors


def _linked_pages(page: Page) -> set[Path]:
    targets = {(page.path.parent / link.partition("#")[0]).resolve() for link in page.links if "://" not in link}
    return {target for target in targets if target.suffix == ".md" and target.is_file()}


def test_the_top_level_holds_nothing_unexpected() -> None:
    found = {path.parts[0] for path in repository_files()}

    assert found <= TOP_LEVEL, f"find a place below for {sorted(found - TOP_LEVEL)}, or add it to the list"


def test_packages_have_empty_init_files() -> None:
    inits = [path for path in modules("app", "worker", "tests") if path.name == "__init__.py"]

    full = [str(path.relative_to(ROOT)) for path in inits if path.stat().st_size]
    assert not full, f"an import from a package must not run code: {full}"


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in modules("app", "worker", "tests")}

    missing = [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").exists()]
    assert not missing, f"add an empty __init__.py to {missing}"


def test_modules_are_named_after_nouns_of_the_product() -> None:
    named = [path for path in modules("app", "worker", "tests") if MOODS & {path.stem, path.parent.name}]

    assert not named, f"say what is in it: {[str(path.relative_to(ROOT)) for path in named]}"


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{path}:{number}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]

    assert not found, f"write it relative to the repository: {found}"


def test_no_file_names_a_package_registry() -> None:
    found = [f"{path}: {host}" for path, text in texts() for host in REGISTRIES if host in text]

    assert not found, f"which registry is used is the machine's configuration: {found}"


def test_every_relative_link_of_the_documentation_resolves() -> None:
    broken = {str(page.path.relative_to(ROOT)): _broken_links(page) for page in pages()}

    assert not {page: links for page, links in broken.items() if links}


def test_every_page_can_be_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    reached, waiting = {index}, [index]

    while waiting:
        linked = _linked_pages(read_page(waiting.pop())) - reached
        reached |= linked
        waiting += linked

    unreachable = {page.path for page in pages() if page.path.is_relative_to(ROOT / "docs")} - reached
    assert not unreachable, f"link {sorted(str(path.relative_to(ROOT)) for path in unreachable)} in docs/README.md"


def test_the_example_environment_names_every_variable_and_no_other() -> None:
    settings = {name.upper() for name in Settings.model_fields}

    assert set(_example_environment()) == settings | _variables_of_the_composition()


def test_uncommenting_the_whole_example_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    default = Settings()

    for name, value in _example_environment().items():
        monkeypatch.setenv(name, value)

    assert Settings().model_dump() == default.model_dump()
