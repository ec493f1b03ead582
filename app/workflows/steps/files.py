"""Files that a program left in its work folder, to be kept as artifacts."""

import mimetypes
from pathlib import Path

from app.errors import Invalid

LARGEST_FILE = 100 * 1024 * 1024
_UNKNOWN = "application/octet-stream"


def read_file(folder: Path, name: str, relative: str) -> tuple[bytes, str]:
    """A file below the folder, wherever links lead, and its media type. Raises `Invalid`."""
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise Invalid(f"artifact {name!r}: there is no such file in the work folder of the run")
    if path.stat().st_size > LARGEST_FILE:
        raise Invalid(f"artifact {name!r}: the file has more than {LARGEST_FILE} bytes")
    return path.read_bytes(), mimetypes.guess_type(path.name)[0] or _UNKNOWN
