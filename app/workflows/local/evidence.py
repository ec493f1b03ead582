"""The folder of one run: what it was given, what each step was given and gave, in files that people can read.

A value of more than 64 KiB is in `artifacts`, named by its digest, and the file in its place says so.
"""

import contextlib
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.artifacts.store import ArtifactStore
from app.hash_chain import canonical
from app.workflows.local.journal import EvidenceCorrupt

TENANT = "local"
LARGEST_INLINE = 64 * 1024
JSON_TYPE = "application/json"
_CLAIM = "$artifact"
_LONGEST_NAME = 180


@dataclass(frozen=True, slots=True)
class Ref:
    """Of a JSON value: SHA-256 of its canonical bytes, and how many these are."""

    sha256: str
    size: int


def ref_of(value: Any) -> Ref:
    data = canonical(value)
    return Ref(hashlib.sha256(data).hexdigest(), len(data))


class Evidence:
    """The files of a run. `state.json` is for readers; what counts is in `events.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.events = self.folder / "events.jsonl"
        self.state = self.folder / "state.json"
        self.receipt = self.folder / "receipt.json"
        self.definition = self.folder / "definition.json"
        self.inputs = self.folder / "inputs.json"
        self.outputs = self.folder / "outputs.json"
        self.work = self.folder / "work"
        self.cancel_request = self.folder / "cancel"
        self.artifacts = ArtifactStore(str(self.folder / "artifacts"))

    def create(self) -> None:
        """Readable by its owner only: inputs and outputs may be private."""
        for folder in (self.folder, self.folder / "steps", self.work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def definition_of(self, digest: str, *, first: str) -> Path:
        """Where the definition is kept that the run went on with; ``first`` is what it began with."""
        if digest == first:
            return self.definition
        return self.folder / f"definition-{digest.rpartition(':')[2][:16]}.json"

    def step(self, path: str) -> Path:
        """The folder of a step, as `review[2].fix`; a long path is cut and told apart by its digest."""
        name = path
        if len(path) > _LONGEST_NAME:
            name = f"{path[:_LONGEST_NAME]}~{hashlib.sha256(path.encode()).hexdigest()[:16]}"
        folder = self.folder / "steps" / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    async def put(self, path: Path, value: Any) -> Ref:
        """Keep a JSON value in a file of this folder."""
        data = canonical(value)
        shown = value
        if len(data) > LARGEST_INLINE:
            stored = await self.artifacts.put(TENANT, data, JSON_TYPE)
            shown = {_CLAIM: {"sha256": stored.sha256, "size": stored.size, "media_type": JSON_TYPE}}
        write_json(path, shown)
        return Ref(hashlib.sha256(data).hexdigest(), len(data))

    def get_definition(self, path: Path) -> Any:
        """Raises `EvidenceCorrupt`."""
        return _read_json(path, path.relative_to(self.folder))

    async def get(self, path: Path, ref: Ref) -> Any:
        """The value that was put. Raises `EvidenceCorrupt` when it is another one, or gone."""
        name = path.relative_to(self.folder)
        value = _read_json(path, name)
        if ref.size > LARGEST_INLINE:
            value = json.loads(await self.artifacts.get(TENANT, ref.sha256))
        if ref_of(value) != ref:
            raise EvidenceCorrupt(f"{name} was changed after it was written")
        return value


def _read_json(path: Path, name: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EvidenceCorrupt(f"{name} is not there any more, or is no JSON") from error


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def write_atomically(path: Path, data: bytes) -> None:
    """Whoever reads it sees all of it or what was there before, also after this process was killed."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
