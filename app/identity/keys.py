"""API keys: kept as digests, compared in constant time."""

import functools
import hashlib
import hmac
from collections.abc import Iterable

from app.errors import NotAuthenticated
from app.identity.principals import Principal
from app.settings import ApiKey, ConfigurationError, Role

ANONYMOUS = "anonymous"
# A key id is logged, and keys people chose are short: trying them out must cost something.
_KEY_ID_ROUNDS = 10_000


class KeyRing:
    """Knows which principal a key stands for."""

    def __init__(self, keys: Iterable[ApiKey], *, default_tenant: str) -> None:
        """Without keys everybody is the default tenant's admin. Raises `ConfigurationError` for a key given twice."""
        self._entries = [_entry(key, default_tenant) for key in keys]
        self._anonymous = Principal(default_tenant, Role.ADMIN, ANONYMOUS)
        if len({digest for digest, _ in self._entries}) != len(self._entries):
            raise ConfigurationError("API_KEYS: the same key is listed twice; give every entry its own key")

    @property
    def is_open(self) -> bool:
        """No key is configured, so none is asked for."""
        return not self._entries

    def find(self, tenant_id: str, key_id: str) -> Principal | None:
        """Whom the key with this id stands for, if it is one of this tenant."""
        known = [self._anonymous] if self.is_open else [principal for _, principal in self._entries]
        return next((one for one in known if (one.tenant_id, one.key_id) == (tenant_id, key_id)), None)

    def authenticate(self, presented: str | None) -> Principal:
        """Raises `NotAuthenticated` without saying whether the key was missing, wrong or somebody else's."""
        if self.is_open:
            return self._anonymous
        digest, found = _digest(presented or ""), None
        for known, principal in self._entries:
            # No early exit: the time taken must not tell which entry came close.
            if hmac.compare_digest(known, digest):
                found = principal
        if found is None:
            raise NotAuthenticated("send a valid key as X-API-Key or Authorization: Bearer")
        return found


def _entry(key: ApiKey, default_tenant: str) -> tuple[bytes, Principal]:
    secret = key.secret.get_secret_value()
    return _digest(secret), Principal(key.tenant_id or default_tenant, key.role, _key_id(secret))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


@functools.cache
def _key_id(secret: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), b"agent-orchestrator key id", _KEY_ID_ROUNDS, 6).hex()
