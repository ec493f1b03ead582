"""Short-lived signed tokens for event streams: an EventSource cannot send headers."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from itsdangerous import BadData, URLSafeTimedSerializer
from itsdangerous.timed import TimestampSigner

from app.clock import Clock, utc_now
from app.errors import NotAuthenticated
from app.identity.principals import Principal
from app.settings import ApiKey, Role, Settings

MAX_AGE = timedelta(minutes=5)
# Another process's clock may be ahead of ours.
MAX_SKEW = timedelta(seconds=30)
_SALT = "event-stream"
_MAX_LENGTH = 1024


class EventTokens:
    """Each token opens one task's stream of one tenant, for reading only."""

    def __init__(self, secret: str, *, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._serializer = URLSafeTimedSerializer(
            secret,
            salt=_SALT,
            signer=_ClockedSigner,
            signer_kwargs={"clock": clock, "digest_method": hashlib.sha256},
        )

    def issue(self, principal: Principal, task_id: str) -> str:
        return self._serializer.dumps([principal.tenant_id, principal.key_id, task_id])

    def verify(self, token: str, task_id: str, *, max_age: timedelta = MAX_AGE) -> Principal:
        """The principal with the role of a viewer. Raises `NotAuthenticated` for every other token."""
        try:
            content, issued_at = self._serializer.loads(token[:_MAX_LENGTH], return_timestamp=True)
        except BadData:
            raise _refused() from None
        match content:
            case [str(tenant_id), str(key_id), str(signed_id)] if signed_id == task_id:
                self._check_age(issued_at, max_age)
                return Principal(tenant_id, Role.VIEWER, key_id)
            case _:
                raise _refused()

    def _check_age(self, issued_at: datetime, max_age: timedelta) -> None:
        if not -MAX_SKEW <= self._clock() - issued_at <= max_age:
            raise _refused()


class _ClockedSigner(TimestampSigner):
    def __init__(self, *args: object, clock: Clock, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock().timestamp())


def token_secret(settings: Settings) -> str:
    """The configured secret, else one that every process derives from the keys, else one of this process alone."""
    if settings.event_token_secret is not None:
        return settings.event_token_secret.get_secret_value()
    return _derived(settings.api_keys) if settings.api_keys else secrets.token_hex(32)


def _derived(keys: Iterable[ApiKey]) -> str:
    known = sorted(key.secret.get_secret_value() for key in keys)
    return hashlib.sha256("\n".join(["agent-orchestrator event tokens", *known]).encode()).hexdigest()


def _refused() -> NotAuthenticated:
    return NotAuthenticated("the token of this event stream is wrong or older than five minutes; ask for a new one")
