"""Signed links by which somebody decides an approval without a key at hand."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from itsdangerous import BadData, URLSafeSerializer

from app.clock import Clock, utc_now
from app.errors import NotAuthenticated

_SALT = "approval-link"
_MAX_LENGTH = 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ApprovalLink:
    """One answer of one key to one approval as it was then; ``revision`` is that of its input."""

    tenant_id: str
    approval_id: str
    revision: int
    approved: bool
    key_id: str
    issued_by: str
    expires_at: datetime


class LinkTokens:
    """Each token is good for one answer. What it names must still hold when it is used."""

    def __init__(self, secret: str, *, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._serializer = URLSafeSerializer(secret, salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256})

    def issue(self, link: ApprovalLink) -> str:
        expires = (link.expires_at - _EPOCH) // timedelta(milliseconds=1)
        content = [link.tenant_id, link.approval_id, link.revision, link.approved, link.key_id, link.issued_by, expires]
        return str(self._serializer.dumps(content))

    def verify(self, token: str) -> ApprovalLink:
        """Raises `NotAuthenticated` for every token that is not ours, or whose time is over."""
        try:
            content = self._serializer.loads(token) if len(token) <= _MAX_LENGTH else None
        except BadData:
            content = None
        match content:
            case [str(tenant), str(approval), int(revision), bool(approved), str(key), str(issuer), int(expires)]:
                expires_at = _EPOCH + timedelta(milliseconds=expires)
                if self._clock() < expires_at:
                    return ApprovalLink(tenant, approval, revision, approved, key, issuer, expires_at)
        raise NotAuthenticated("this link is wrong or its time is over; ask for a new one")
