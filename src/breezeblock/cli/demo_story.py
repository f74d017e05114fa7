"""How a volume became a LUN for a host, told from the log of the array: pure functions.

Only the requests that changed something are told, in their order, each with the array's answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

GIB = 1 << 30
COLLECTIONS = frozenset({"luns", "igroups", "lun-maps", "credentials"})
"""What follows their names in a path are UUIDs, which say little to a reader."""


class Request(msgspec.Struct, frozen=True):
    """A request as the simulator's log shows it. `status`: None while it is being answered."""

    method: str
    path: str
    body: Any = None
    status: int | None = None


def story(requests: Sequence[Request]) -> list[str]:
    """A line for each request that changed something, and one above them."""
    told = [one for one in requests if one.method != "GET" and _done(one)]
    head = f"how the volume became a LUN: {len(told)} of {len(requests)} requests changed the array"
    return [head, *(_line(one) for one in told)]


def _done(request: Request) -> bool:
    return request.status is not None and 200 <= request.status < 300


def _line(request: Request) -> str:
    parts = request.path.removeprefix("/api/").split("/")
    depth = next((n for n, part in enumerate(parts, 1) if part in COLLECTIONS), len(parts))
    collection = "/" + "/".join(parts[:depth])
    what = _what(request.method, parts[depth - 1], parts[depth:], request.body)
    return f"  {request.status}  {request.method:<6} {collection:<33} {what}"


def _what(method: str, kind: str, rest: Sequence[str], body: Any) -> str:
    """What the request did, in a person's words; the requests themselves are ONTAP's."""
    match method, kind:
        case "POST", "luns":
            return f"LUN made: {body['name']}, {body['space.size'] / GIB:g} GiB"
        case "DELETE", "luns":
            return "LUN deleted"
        case "POST", "igroups":
            members = ", ".join(one["name"] for one in body["initiators"])
            return f"igroup made for host {body['comment']}: {members}"
        case "POST", "lun-maps":
            return f"LUN mapped to it, as number {body['logical_unit_number']}"
        case "DELETE", "lun-maps":
            return "LUN unmapped; with its last map the igroup goes, too"
        case "POST", "credentials":
            user = body["chap"]["inbound"]["user"]
            return f"CHAP secret of {body['initiator']} set, user {user}"
        case "DELETE", "credentials":
            return f"CHAP secret of {unquote(rest[-1])} removed"
    return ""
