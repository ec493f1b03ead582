"""Clients that follow a task's events and come back with `Last-Event-ID` whenever the stream breaks."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from httpx_sse import SSEError, connect_sse

from app.events.places import Place
from tests.chaos.client import FINAL, ChaosClient, Json
from tests.processes import NotInTime

STATUS = "message"
PAUSE = 0.1
PATIENCE = 240.0


@dataclass(frozen=True, slots=True)
class Told:
    """One event: its place, its name, and what it says. A change of the status has the name `STATUS`."""

    place: Place
    name: str
    data: Json


@dataclass(slots=True)
class Follower:
    """What one client was told of a task, in the order of arrival."""

    task_id: str
    told: list[Told] = field(default_factory=list)
    connections: int = 0

    @property
    def events(self) -> list[tuple[int, str]]:
        """The number and the status of each change."""
        return [(one.place.seq, one.data["status"]) for one in self.told if one.name == STATUS]

    @property
    def live(self) -> list[Told]:
        """What happened between the changes."""
        return [one for one in self.told if one.name != STATUS]

    @property
    def has_seen_the_end(self) -> bool:
        return bool(self.told) and self.told[-1].name == STATUS and self.told[-1].data["status"] in FINAL

    def follow(self, client: ChaosClient) -> None:
        """Until the final event; raises `NotInTime` when it never comes."""
        ends_at = time.monotonic() + PATIENCE
        while not self.has_seen_the_end:
            if time.monotonic() > ends_at:
                raise NotInTime(f"no final event of {self.task_id}; seen: {self.events}")
            try:
                self._connect(client)
            except (httpx.TransportError, SSEError):
                # An API that is being started again; as `EventSource` does, wait a little.
                time.sleep(PAUSE)

    def _connect(self, client: ChaosClient) -> None:
        last = str(self.told[-1].place) if self.told else "0"
        path = f"/v1/tasks/{self.task_id}/events"
        with connect_sse(client.http, "GET", path, headers={"Last-Event-ID": last}) as source:
            self.connections += 1
            for event in source.iter_sse():
                place = Place.read(event.id)
                assert place is not None, event.id
                self.told.append(Told(place, event.event, event.json()))


@contextmanager
def following(client: ChaosClient, task_ids: Sequence[str]) -> Iterator[list[Follower]]:
    """One client for each task; leaving waits until each has seen the end."""
    followers = [Follower(task_id) for task_id in task_ids]
    threads = [threading.Thread(target=one.follow, args=(client,), daemon=True) for one in followers]
    for thread in threads:
        thread.start()
    yield followers
    for thread in threads:
        thread.join(PATIENCE)
