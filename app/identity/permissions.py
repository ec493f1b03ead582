"""What each role may do. Pure."""

from enum import StrEnum

from app.settings import Role


class Action(StrEnum):
    """``WRITE`` creates and steers work; ``ADMINISTER`` manages the tenant."""

    READ = "read"
    WRITE = "write"
    ADMINISTER = "administer"


_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PERMITTED = {
    Role.VIEWER: frozenset({Action.READ}),
    Role.MEMBER: frozenset({Action.READ, Action.WRITE}),
    Role.ADMIN: frozenset(Action),
}


def may(role: Role, action: Action) -> bool:
    return action in _PERMITTED[role]


def action_of(method: str) -> Action:
    """The least an HTTP method needs; a method nobody knows counts as a write."""
    return Action.READ if method in _READING_METHODS else Action.WRITE
