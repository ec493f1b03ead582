"""What each role may do. Pure."""

from enum import StrEnum

from app.settings import Role


class Action(StrEnum):
    """``WRITE`` creates and steers work; ``ADMINISTER`` manages the tenant."""

    READ = "read"
    WRITE = "write"
    ADMINISTER = "administer"


_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# It makes a token that reads a stream, and whoever may read the stream may have one.
_READING_POST = "/events/token"
_PERMITTED = {
    Role.VIEWER: frozenset({Action.READ}),
    Role.MEMBER: frozenset({Action.READ, Action.WRITE}),
    Role.ADMIN: frozenset(Action),
}


def may(role: Role, action: Action) -> bool:
    return action in _PERMITTED[role]


def action_of(method: str, path: str) -> Action:
    """The least a request needs; a method nobody knows counts as a write."""
    reads = method in _READING_METHODS or (method == "POST" and path.endswith(_READING_POST))
    return Action.READ if reads else Action.WRITE
