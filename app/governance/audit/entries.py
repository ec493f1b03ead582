"""What was done, by whom and to what, as links of one chain per tenant. Pure.

An entry as it is exported is what is hashed; see `app.hash_chain`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

from app.clock import to_iso
from app.database.documents import Document
from app.errors import Invalid
from app.hash_chain import BEGINNING, canonical, digest_of

Entry = dict[str, Any]
_PLAIN = ("tenant_id", "at", "kind", "actor")
_HEAD = re.compile(r"(?P<seq>0|[1-9][0-9]{0,14}):(?P<hash>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain. Kept elsewhere it is an anchor: what came before can no longer be rewritten."""

    seq: int = 0
    hash: str = BEGINNING

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `Invalid` for anything that is not a head's text."""
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise Invalid("an anchor is what `orchestrate audit head` prints: SEQ:HASH", field="anchor")
        return cls(int(found["seq"]), found["hash"])


@dataclass(frozen=True, slots=True)
class Act:
    """What is to be recorded. ``id`` tells two like acts apart, and a write that is repeated from a new one."""

    id: str
    tenant_id: str
    at: datetime
    kind: str
    actor: str
    subject: Mapping[str, str]
    detail: Mapping[str, Any]

    def after(self, head: Head) -> Entry:
        """The next entry of the chain."""
        entry = {**asdict(self), "at": to_iso(self.at), "seq": head.seq + 1, "previous": head.hash}
        return {**entry, "hash": digest_of(entry)}


def head_of(entry: Mapping[str, Any]) -> Head:
    return Head(entry["seq"], entry["hash"])


def document_of(entry: Entry) -> Document:
    """As it is stored: the details as text, which no store can change in passing, and the subject to be found by."""
    return {
        **entry,
        "_id": id_of(entry["tenant_id"], entry["seq"]),
        "at": datetime.fromisoformat(entry["at"]),
        "subject": [{"name": name, "value": value} for name, value in entry["subject"].items()],
        "detail": canonical(entry["detail"]).decode(),
    }


def intent_of(act: Act) -> Document:
    """An act as it is stored before it is done."""
    named = [{"name": name, "value": value} for name, value in act.subject.items()]
    detail = canonical(act.detail).decode()
    return {"_id": act.id, **{name: getattr(act, name) for name in _PLAIN}, "subject": named, "detail": detail}


def act_of(document: Document) -> Act:
    """What `intent_of` has stored."""
    named = {one["name"]: one["value"] for one in document["subject"]}
    plain = {name: document[name] for name in _PLAIN}
    return Act(id=document["_id"], **plain, subject=named, detail=json.loads(document["detail"]))


def entry_of(document: Document) -> Entry:
    """The entry of a document, whatever was done to it: one that was changed has another hash, and never none."""
    entry = dict(document)
    stored_id = entry.pop("_id", None)
    if stored_id != id_of(entry.get("tenant_id"), entry.get("seq")):
        entry["_id"] = str(stored_id)
    entry["at"] = to_iso(entry["at"]) if isinstance(entry.get("at"), datetime) else str(entry.get("at"))
    entry["subject"] = _subject(entry.get("subject"))
    entry["detail"] = _detail(entry.get("detail"))
    plain: Entry = json.loads(json.dumps(entry, default=str))
    return plain


def id_of(tenant_id: Any, seq: Any) -> str:
    return f"{tenant_id}:{seq}"


def _subject(stored: Any) -> Any:
    try:
        found = {one["name"]: one["value"] for one in stored}
        is_whole = [{"name": name, "value": value} for name, value in found.items()] == stored
    except (TypeError, KeyError):
        is_whole = False
    return found if is_whole else str(stored)


def _detail(stored: Any) -> Any:
    try:
        detail = json.loads(stored)
        # Spelled otherwise it was changed, even if it says the same.
        is_whole = canonical(detail).decode() == stored
    except (TypeError, ValueError, RecursionError):
        is_whole = False
    return detail if is_whole else str(stored)
