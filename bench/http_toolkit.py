"""Requests per second of the HTTP toolkit alone: python bench/http_toolkit.py [requests].

A table of 150 routes is called in process, as a server would call it, without sockets: one GET and
one POST with a body of ten fields. The figures bound what one API process can do before it has
asked any database. The access log is counted apart.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
import uvloop

from breezeblock.auth.authenticators import NoAuth
from breezeblock.auth.policy import Policy
from breezeblock.web.app import make_app
from breezeblock.web.call import Call
from breezeblock.web.routes import Route
from breezeblock.web.service import block_storage
from breezeblock.web.types import UNSET, Body, Metadata, Name, Size, UnsetType, Uuid

PROJECT = "0123456789abcdef0123456789abcdef"
COLLECTIONS = 30
HEADERS = [
    (b"host", b"127.0.0.1:8776"),
    (b"x-auth-token", f"alice:{PROJECT}".encode()),
    (b"openstack-api-version", b"volume 3.71"),
    (b"accept", b"application/json"),
    (b"user-agent", b"python-cinderclient"),
]


class NewThing(Body, frozen=True):
    size: Size
    name: Name | UnsetType | None = UNSET
    description: Name | UnsetType | None = UNSET
    volume_type: str | None = None
    availability_zone: str | None = None
    snapshot_id: Uuid | UnsetType | None = UNSET
    source_volid: Uuid | UnsetType | None = UNSET
    image_ref: str | None = msgspec.field(default=None, name="imageRef")
    consistencygroup_id: Uuid | UnsetType | None = UNSET
    metadata: Metadata | None = None


class CreateThing(Body, frozen=True):
    thing: NewThing


async def show(call: Call[Any]) -> dict[str, object]:
    ident = call.params["thing_id"]
    return {"thing": {"id": ident, "links": call.link("things", ident)}}


async def create(call: Call[Any]) -> dict[str, object]:
    return {"thing": {"size": call.body.thing.size}}


def routes() -> list[Route]:
    table = []
    for number in range(COLLECTIONS):
        path = f"/things{number}"
        table += [
            Route("GET", path, show, policy="volume:get_all"),
            Route("POST", path, create, body=CreateThing, policy="volume:create", success=202),
            Route("GET", f"{path}/detail", show, policy="volume:get_all"),
            Route("GET", f"{path}/{{thing_id}}", show, policy="volume:get"),
            Route("DELETE", f"{path}/{{thing_id}}", show, policy="volume:delete"),
        ]
    return table


def request(method: str, path: str, body: bytes = b"") -> Callable[[Any], Awaitable[int]]:
    """A function that sends one request to an application and returns the status."""
    headers = HEADERS
    if body:
        length = str(len(body)).encode()
        headers = [*HEADERS, (b"content-type", b"application/json"), (b"content-length", length)]
    event = {"type": "http.request", "body": body, "more_body": False}

    async def send_it(app: Any) -> int:
        status = 0

        async def receive() -> dict[str, Any]:
            return event

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": headers,
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 8776),
        }
        await app(scope, receive, send)
        return status

    return send_it


async def measure(
    name: str, call: Callable[[Any], Awaitable[int]], count: int, wanted: int
) -> None:
    app = make_app(block_storage(), routes(), app=None, authenticator=NoAuth(), policy=Policy())
    best = 0.0
    for _ in range(3):
        begun = time.perf_counter()
        for _ in range(count):
            if await call(app) != wanted:
                raise RuntimeError(f"{name}: another status than {wanted}")
        best = max(best, count / (time.perf_counter() - begun))
    print(f"{name:<28}{best:>9,.0f} requests/s {1e6 / best:>7.0f} µs each")


async def main(count: int) -> None:
    body = {
        "thing": dict.fromkeys(NewThing.__struct_encode_fields__) | {"size": 10, "name": "data"}
    }
    body["thing"]["metadata"] = {"a": "1"}
    get = request("GET", f"/v3/{PROJECT}/things29/5d2c5a5e-5d7e-4f0e-8e0f-4a3ef3c5a001")
    post = request("POST", f"/v3/{PROJECT}/things29", json.dumps(body).encode())
    print(f"{len(routes())} routes, one process, no sockets, best of three")
    for level, what in ((logging.WARNING, ""), (logging.INFO, ", access log in JSON")):
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.PrintLoggerFactory(open("/dev/null", "w")),  # noqa: SIM115,PTH123,ASYNC230
        )
        await measure(f"GET{what}", get, count, 200)
        await measure(f"POST{what}", post, count, 202)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000))
