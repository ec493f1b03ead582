"""The workflows that come with the product, as `library:NAME` names them."""

from difflib import get_close_matches
from pathlib import Path

from app.errors import NotFound

LIBRARY = Path(__file__).parent / "library"
PREFIX = "library:"


def library_names() -> list[str]:
    """Of whole workflows; their sub-workflows lie in folders below and are not named."""
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


def library_file(name: str) -> Path:
    """Its sub-workflows are files beside and below it. Raises `NotFound` with what there is."""
    names = library_names()
    if name not in names:
        near = get_close_matches(name, names, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise NotFound(f"the library has no workflow {name[:100]!r}: {meant}it has {', '.join(names)}", name=name)
    return LIBRARY / f"{name}.yaml"
