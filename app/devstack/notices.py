"""What the supervisor has to say, as values; the terminal is somebody else's business."""

from dataclasses import dataclass
from datetime import timedelta

from app.devstack.logfile import Severity


@dataclass(frozen=True, slots=True)
class Started:
    part: str
    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    part: str
    took: timedelta


@dataclass(frozen=True, slots=True)
class Died:
    """It ended by itself and is started again after the delay. `looping`: it has done so several times in a row."""

    part: str
    exit_code: int
    restart_in: timedelta
    deaths: int
    looping: bool
    last_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    part: str
    killed: bool


@dataclass(frozen=True, slots=True)
class Said:
    part: str
    line: str
    severity: Severity


Notice = Started | Ready | Died | Stopped | Said
