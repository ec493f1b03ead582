"""Packages as an installer leaves them: modules in a folder, and their metadata beside them."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def add_metadata(
    folder: Path,
    distribution: str,
    *,
    agents: Mapping[str, str] | None = None,
    tools: Mapping[str, str] | None = None,
    evaluators: Mapping[str, str] | None = None,
    version: str = "1.2.3",
) -> None:
    """Make what is in the folder a distribution with these entry points, once the folder is on the path."""
    metadata = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    given = {"agents": agents, "tools": tools, "evaluators": evaluators}
    groups = {f"agent_orchestrator.{kind}": points or {} for kind, points in given.items()}
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")


def add_module(folder: Path, name: str, source: str) -> None:
    (folder / f"{name}.py").write_text(dedent(source))
