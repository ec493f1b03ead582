"""Where `orchestrate audit verify` takes a trail from: an export, a server or the store itself."""

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from app.cli.address import Address
from app.cli.installation import settings_of
from app.database.client import connect, database_of
from app.database.documents import Documents
from app.database.errors import StoreFailure, StoreUnavailable
from app.devstack.manifest import Manifest
from app.errors import Invalid
from app.governance.audit.entries import Head
from app.governance.audit.repository import COLLECTION, AuditRepository
from app.governance.audit.verification import Break, Verification
from app.settings import load_settings

LONGEST_LINE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chain:
    """One tenant's trail: up to where it is proved, and what is wrong behind that, if anything."""

    head: Head
    broken: Break | None
    tenant_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        broken = self.broken and {"seq": self.broken.seq, "reason": self.broken.reason}
        return {"tenant_id": self.tenant_id, "entries": self.head.seq, "head": str(self.head), "broken": broken}


def verify_file(file: Path, anchors: Sequence[Head]) -> Chain:
    """Raises `Invalid` for a file that cannot be read."""
    verification = Verification(anchors=anchors)
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(LONGEST_LINE):
                if not verification.take(_parsed(line)):
                    break
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
    return _chain(verification)


async def verify_server(address: Address, anchors: Sequence[Head]) -> Chain:
    """Asks for the head first, so that an export which ends too early is seen."""
    async with address.connect() as asked:
        current = Head.parse(str((await asked.get("audit", "head")).get("anchor")))
        verification = Verification(anchors=[*anchors, current] if current.seq else anchors)
        async with aclosing(asked.lines("audit", "export")) as lines:
            async for line in lines:
                if not verification.take(_parsed(line)):
                    break
    return _chain(verification)


async def verify_store(data_dir: Path | None, tenant: str | None, anchors: Sequence[Head]) -> list[Chain]:
    """The trails in the store of the stack that runs from the data folder, else in what MONGO_URI names."""
    settings = settings_of(Manifest.find_running(data_dir or load_settings().data_dir))
    try:
        async with connect(settings) as client:
            repository = AuditRepository(Documents(database_of(client, settings)[COLLECTION]))
            tenants = [tenant] if tenant is not None else await repository.list_tenants()
            return [await _verify_tenant(repository, name, anchors) for name in tenants]
    except PyMongoError as error:
        raise StoreUnavailable(f"the store cannot be read: {type(error).__name__}") from error
    except StoreFailure as error:
        raise StoreUnavailable(f"the store cannot be read: {error.message}") from error


async def _verify_tenant(repository: AuditRepository, tenant_id: str, anchors: Sequence[Head]) -> Chain:
    verification = Verification(anchors=anchors)
    async for entry in repository.read_chain(tenant_id):
        if not verification.take(entry):
            break
    return _chain(verification, tenant_id)


def _chain(verification: Verification, tenant_id: str | None = None) -> Chain:
    broken = verification.finish()
    return Chain(verification.head, broken, tenant_id or verification.tenant_id)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
