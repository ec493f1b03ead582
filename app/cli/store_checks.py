"""What `orchestrate doctor` asks the stores: MongoDB, the live workers in it, Redis and the broker."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from app.cli.check import Check, fail, ok, warn
from app.cli.queue_checks import check_queues
from app.clock import utc_now
from app.ids import new_id
from app.jobs.workers import COLLECTION as WORKERS
from app.llm.circuit_store import COLLECTION as CIRCUITS
from app.settings import Settings

_SCRATCH = "doctor_scratch"
_LONGEST_SEC = 3.0
_MOST_NAMED = 10
_AMQP_PORTS = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671}
_HOW_TO_MONGO = "start MongoDB, correct MONGO_URI, or run `orchestrate up` for an embedded store"
_HOW_TO_REDIS = "start Redis or Valkey, correct {variable}, or run `orchestrate up` for an embedded one"

Client = AsyncMongoClient[dict[str, Any]]


def open_mongo(settings: Settings) -> Client:
    milliseconds = int(min(settings.mongo_timeout_sec, _LONGEST_SEC) * 1000)
    return AsyncMongoClient(
        settings.mongo_uri.get_secret_value(),
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
        tz_aware=True,
    )


async def check_mongo(settings: Settings) -> Check:
    """Ping, and one document written, read and deleted again."""
    try:
        async with open_mongo(settings) as client:
            await client.admin.command("ping")
            await _round_trip(client, settings.mongo_db_name)
            return ok("mongo", f"{await _version(client)}, writes and reads in {settings.mongo_db_name}")
    except OperationFailure as error:
        remedy = "give the user of MONGO_URI the readWrite role, or correct the password"
        return fail("mongo", f"refused: {(error.details or {}).get('errmsg', error.code)}", remedy)
    except PyMongoError as error:
        return fail("mongo", type(error).__name__, _HOW_TO_MONGO)


async def _round_trip(client: Client, database: str) -> None:
    scratch = client[database][_SCRATCH]
    document = {"_id": new_id(), "at": utc_now()}
    await scratch.insert_one(document)
    found = await scratch.find_one({"_id": document["_id"]})
    await scratch.delete_one({"_id": document["_id"]})
    if found != document:
        raise PyMongoError("the document read is not the one written")


async def _version(client: Client) -> str:
    try:
        return f"MongoDB {(await client.admin.command('buildInfo'))['version']}"
    except (OperationFailure, KeyError):
        return "MongoDB of unknown version"


async def check_workers(settings: Settings) -> Check:
    """Live workers, by the documents they renew."""
    try:
        async with open_mongo(settings) as client:
            alive = await client[settings.mongo_db_name][WORKERS].count_documents({"expires_at": {"$gt": utc_now()}})
    except PyMongoError as error:
        return fail("workers", f"cannot be counted: {type(error).__name__}", _HOW_TO_MONGO)
    if alive == 0:
        return warn("workers", "none is alive: tasks are accepted but wait", "start one with `orchestrate worker`")
    return ok("workers", f"{alive} alive")


async def check_circuits(settings: Settings) -> Check:
    """Providers that the workers leave alone because they are down."""
    try:
        async with open_mongo(settings) as client:
            found = await client[settings.mongo_db_name][CIRCUITS].find().limit(_MOST_NAMED).to_list()
    except PyMongoError as error:
        return fail("circuits", f"cannot be read: {type(error).__name__}", _HOW_TO_MONGO)
    if found:
        names = ", ".join(f"{one['provider']} ({one['model']}), {one['failures']} failures in a row" for one in found)
        return warn("circuits", f"left alone because it is down: {names}", "look at the provider's status page")
    return ok("circuits", "no provider is known to be down")


async def check_redis(settings: Settings) -> Check:
    if settings.redis_url is None:
        return warn("redis", "REDIS_URL=none: waiting clients are polled, limits are per process", "set REDIS_URL")
    return await _ping("redis", "REDIS_URL", settings.redis_url.get_secret_value())


async def check_broker(settings: Settings) -> Check:
    url = settings.broker_url
    scheme = urlsplit(url).scheme
    if scheme in _AMQP_PORTS:
        return await _connect(url, _AMQP_PORTS[scheme])
    if scheme == "sqs":
        return await asyncio.to_thread(check_queues, settings)
    variable = "CELERY_BROKER_URL" if settings.celery_broker_url else "REDIS_URL"
    return await _ping("broker", variable, url.replace("valkey", "redis", 1) if scheme.startswith("valkey") else url)


async def _ping(name: str, variable: str, url: str) -> Check:
    try:
        async with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as redis:
            about = await redis.info()
    except AuthenticationError:
        return fail(name, "the password was refused", f"correct the password in {variable}")
    except (RedisError, OSError, ValueError) as error:
        return fail(name, type(error).__name__, _HOW_TO_REDIS.format(variable=variable))
    return _judged(name, about)


def _judged(name: str, about: dict[str, Any]) -> Check:
    version = about.get("valkey_version") or about.get("redis_version") or "?"
    policy = about.get("maxmemory_policy", "noeviction")
    if about.get("maxmemory") and policy != "noeviction":
        remedy = "set maxmemory-policy noeviction, so that messages are not thrown away"
        return warn(name, f"{about.get('server_name', 'redis')} {version} evicts ({policy})", remedy)
    return ok(name, f"{about.get('server_name', 'redis')} {version} answers")


async def _connect(url: str, default_port: int) -> Check:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or default_port
    try:
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()
    except OSError as error:
        return fail("broker", f"{host}:{port}: {error.strerror or error}", "start it or correct CELERY_BROKER_URL")
    return ok("broker", f"{host}:{port} accepts connections (log-in not tried)")
