"""What a task tells the chaos agent to do, written as JSON into the text of the task."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

AGENT = "ChaosAgent"
TICK = 0.1


class Step(BaseModel):
    """One thing to do; ``value`` is in seconds where it is a time."""

    model_config = ConfigDict(frozen=True)

    do: str
    value: float = 0.0
    name: str = ""


class Work(BaseModel):
    """Steps in order, then the end with this answer. ``only_attempts`` leaves the other attempts without any step."""

    model_config = ConfigDict(frozen=True)

    steps: tuple[Step, ...] = ()
    only_attempts: tuple[int, ...] = ()
    answer: str = "done"

    @property
    def text(self) -> str:
        return self.model_dump_json()

    def steps_of(self, attempt: int) -> tuple[Step, ...]:
        return self.steps if not self.only_attempts or attempt in self.only_attempts else ()


def work(*steps: Step, only_attempts: tuple[int, ...] = ()) -> Work:
    return Work(steps=steps, only_attempts=only_attempts)


def sleep(seconds: float) -> Step:
    return Step(do="sleep", value=seconds)


def tick(seconds: float) -> Step:
    """Sleep, with a `tick` event every tenth of a second, so that one can see whether it still runs."""
    return Step(do="tick", value=seconds)


def block(seconds: float) -> Step:
    """Hold the event loop of the worker."""
    return Step(do="block", value=seconds)


def deaf(seconds: float) -> Step:
    """Sleep, and swallow every cancellation meanwhile."""
    return Step(do="deaf", value=seconds)


def gate(path: Path) -> Step:
    """Wait until the file exists."""
    return Step(do="gate", name=str(path))


def effect(name: str) -> Step:
    """Something the outside world sees: an `effect` event."""
    return Step(do="effect", name=name)


def send(name: str, *, deduplicated: bool) -> Step:
    """The same through the ledger of effects: a `sent` event whose detail is the key, as the receiver gets it."""
    return Step(do="send", name=name, value=float(deduplicated))


def kill_worker() -> Step:
    return Step(do="kill_worker")


def stop_loop() -> Step:
    """Let the thread of the event loop end."""
    return Step(do="stop_loop")


def fail() -> Step:
    """An error that another attempt may help against."""
    return Step(do="fail")


def refuse() -> Step:
    """An error that no attempt helps against."""
    return Step(do="refuse")
