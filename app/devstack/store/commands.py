"""The commands this server knows, and how one is run: checked, executed, logged, answered."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from app.devstack.store import administration, writes
from app.devstack.store.administration import Administration
from app.devstack.store.catalog import DOCUMENT_LIMIT, Catalog, Journal
from app.devstack.store.cursors import Cursors
from app.devstack.store.documents import Document
from app.devstack.store.errors import NotSupported, StoreError, UnknownCommand
from app.devstack.store.log import CommandLog
from app.devstack.store.reads import Reads
from app.devstack.store.request import Request

log = logging.getLogger(__name__)

Read = Callable[[Request], Document]
Write = Callable[[Request, Journal], Document]


@dataclass(frozen=True, slots=True)
class Command:
    """Exactly one of ``read`` and ``write``; ``fields`` are the options it understands, None when it takes any."""

    fields: frozenset[str] | None
    read: Read | None = None
    write: Write | None = None


class Commands:
    """Runs one command at a time, so each is atomic to every other."""

    def __init__(self, catalog: Catalog, command_log: CommandLog | None) -> None:
        self._catalog = catalog
        self._log = command_log
        self._cursors = Cursors()
        self._table = _table(Administration(catalog), Reads(catalog, self._cursors))
        self._has_warned = False

    def run(self, fields: Document) -> Document:
        """The reply, ``ok: 0`` with an error included; nothing is raised."""
        name = next(iter(fields), "")
        try:
            return {**self._run(Request(name, fields)), "ok": 1.0}
        except StoreError as error:
            return error.as_reply()
        except Exception as error:
            log.exception("store.command_failed", extra={"command": name})
            return StoreError(f"{name}: {type(error).__name__}: {error}").as_reply()

    def _run(self, request: Request) -> Document:
        command = self._table.get(request.name.lower())
        if command is None:
            raise UnknownCommand(f"no such command: '{request.name}'")
        if command.fields is not None:
            request.check(command.fields)
        if command.read is not None:
            return command.read(request)
        if command.write is None:
            raise NotSupported(f"the command {request.name}")
        return self._write(command.write, request)

    def _write(self, write: Write, request: Request) -> Document:
        journal = Journal(self._catalog, self._log)
        try:
            reply = write(request, journal)
        except BaseException:
            journal.roll_back()
            raise
        journal.commit()
        return reply

    def expire(self, now: float) -> None:
        """Removes what TTL indexes say is over, and cursors nobody reads. Raises :class:`DiskFull`."""
        self._cursors.forget_idle(now)
        journal = Journal(self._catalog, self._log)
        moment = datetime.now(UTC).replace(tzinfo=None)
        for collection in self._catalog:
            for sequence in collection.expired(moment):
                journal.remove(collection, sequence)
        journal.commit()

    def warn_when_full(self) -> None:
        if not self._has_warned and self._catalog.document_count > DOCUMENT_LIMIT:
            self._has_warned = True
            log.warning("store.too_many_documents: more than %d; use a real MongoDB", DOCUMENT_LIMIT)


def _table(admin: Administration, reads: Reads) -> dict[str, Command]:
    find = "filter projection sort skip limit batchSize singleBatch"
    modify = "query update fields sort new remove upsert"
    return {
        "hello": Command(None, read=administration.hello),
        "ismaster": Command(None, read=administration.hello),
        "ping": Command(None, read=administration.nothing),
        "buildinfo": Command(None, read=administration.build_info),
        "endsessions": Command(None, read=administration.nothing),
        "find": Command(_fields(find), read=reads.find),
        "getmore": Command(_fields("collection batchSize"), read=reads.get_more),
        "killcursors": Command(_fields("cursors"), read=reads.kill_cursors),
        "aggregate": Command(_fields("pipeline cursor"), read=reads.aggregate),
        "count": Command(_fields("query skip limit"), read=reads.count),
        "distinct": Command(_fields("key query"), read=reads.distinct),
        "listindexes": Command(_fields("cursor"), read=admin.list_indexes),
        "listcollections": Command(
            _fields("cursor filter nameOnly authorizedCollections"), read=admin.list_collections
        ),
        "listdatabases": Command(_fields("filter nameOnly authorizedDatabases"), read=admin.list_databases),
        "insert": Command(_fields("documents ordered"), write=writes.insert),
        "update": Command(_fields("updates ordered"), write=writes.update),
        "delete": Command(_fields("deletes ordered"), write=writes.delete),
        "findandmodify": Command(_fields(modify), write=writes.find_and_modify),
        "create": Command(_fields(""), write=administration.create),
        "drop": Command(_fields(""), write=administration.drop),
        "dropdatabase": Command(_fields(""), write=admin.drop_database),
        "createindexes": Command(_fields("indexes commitQuorum"), write=administration.create_indexes),
        "dropindexes": Command(_fields("index"), write=administration.drop_indexes),
    }


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())
