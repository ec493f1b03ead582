"""What the supervisor is given: one part of the stack, how to start it and how to know that it is ready."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Answers:
    """Ready when the probe says so; it is asked again and again and must not take long or raise."""

    probe: Probe


@dataclass(frozen=True, slots=True)
class Says:
    """Ready when it has written a JSON line with this `event`."""

    event: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part starts once those named in `after` are ready. Parts of a higher `stage` are stopped first, those of one
    stage together; `grace` is what lies between SIGTERM and SIGKILL."""

    name: str
    argv: tuple[str, ...]
    ready: Answers | Says
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    after: frozenset[str] = frozenset()
    stage: int = 0
    grace: timedelta = timedelta(seconds=5)
