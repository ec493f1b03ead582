"""Which AWS actions were called, by whom and on what, going by the requests."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.aws_template import ACCOUNT, REGION

Json = dict[str, Any]
_WHO = re.compile(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/")


@dataclass(frozen=True, slots=True)
class Call:
    """``who`` is the id of the access key; ``if_none_match`` the header."""

    who: str
    action: str
    resource: str
    if_none_match: str | None = None


def read_calls(path: Path) -> list[Call]:
    return [Call(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def is_allowed(policy: Json, call: Call) -> bool:
    """Whether a statement of the policy, which only allows, names the action and the resource."""
    return any(
        call.action in listed(one["Action"])
        and any(fnmatchcase(call.resource, name) for name in listed(one["Resource"]))
        for one in policy["Statement"]
    )


def actions_of(policies: Iterable[Json]) -> Iterator[str]:
    for policy in policies:
        for statement in policy["Statement"]:
            yield from listed(statement["Action"])


def listed(value: str | list[str]) -> list[str]:
    """One may stand for a list of one."""
    return [value] if isinstance(value, str) else value


def call_of(environ: Json) -> Call | None:
    """What a WSGI server was asked; None for what is not signed. The body can be read again."""
    found = _WHO.search(environ.get("HTTP_AUTHORIZATION", ""))
    if found is None:
        return None
    who, service = found.groups()
    action, resource = _sqs(environ) if service == "sqs" else _s3(environ)
    return Call(who, f"{service}:{action}", resource, environ.get("HTTP_IF_NONE_MATCH"))


def _sqs(environ: Json) -> tuple[str, str]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    target = environ.get("HTTP_X_AMZ_TARGET")
    text = body.decode() or environ["QUERY_STRING"]
    given = json.loads(text) if target else {name: one[0] for name, one in parse_qs(text).items()}
    action = (target or given["Action"]).rpartition(".")[2].removesuffix("Batch")
    if "SourceArn" in given:
        return action, given["SourceArn"]
    url = given.get("QueueUrl") or environ["PATH_INFO"]
    return action, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rpartition('/')[2]}"


def _s3(environ: Json) -> tuple[str, str]:
    bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
    query, resource = parse_qs(environ["QUERY_STRING"], keep_blank_values=True), f"arn:aws:s3:::{bucket}"
    match environ["REQUEST_METHOD"]:
        case "GET" if not key:
            return "ListBucket", resource
        case "POST" if "delete" in query:
            return "DeleteObject", f"{resource}/*"
        case "GET" | "HEAD":
            return "GetObject", f"{resource}/{key}"
        case "DELETE":
            return ("AbortMultipartUpload" if "uploadId" in query else "DeleteObject"), f"{resource}/{key}"
        case _:
            return "PutObject", f"{resource}/{key}"
