"""A server that does nothing but answer: what the load script can reach on this machine at best.

    python -m bench.bare_responder PORT

It speaks as much of the API as the scenarios post, e2e, bulk, get and delete need: a volume is
`available` at once and gone when it is deleted. There is no database and no check of anything. Its
answers are as long as real ones, so the client has as much to read.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid

ANSWER = "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
VOLUME = {
    "id": "",
    "name": "bench",
    "status": "available",
    "size": 1,
    "created_at": "2026-01-01T00:00:00.000000",
    "updated_at": "2026-01-01T00:00:00.000000",
    "availability_zone": "nova",
    "attachments": [],
    "metadata": {},
    "bootable": "false",
    "encrypted": False,
    "multiattach": False,
    "description": None,
    "volume_type": "__DEFAULT__",
    "user_id": "0" * 32,
    "links": [{"rel": "self", "href": "http://127.0.0.1:8776/v3/volumes/" + "0" * 36}] * 2,
    "os-vol-host-attr:host": "bench@free#pool",
    "os-vol-tenant-attr:tenant_id": "0" * 32,
}


class Responder(asyncio.Protocol):
    """One connection; the volumes are those of all."""

    def __init__(self, volumes: set[str]) -> None:
        self._volumes = volumes
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].decode("latin-1")
            end += 4 + _length(head)
            if len(self._read) < end:
                return
            self._read = self._read[end:]
            method, path, _ = head.split(" ", 2)
            status, body = self._answer(method, path.rpartition("/")[2])
            self._transport.write(ANSWER.format(status, len(body)).encode() + body)

    def _answer(self, method: str, ident: str) -> tuple[int, bytes]:
        if method == "POST":
            ident = str(uuid.uuid4())
            self._volumes.add(ident)
            return 202, json.dumps({"volume": {**VOLUME, "id": ident}}).encode()
        if method == "DELETE":
            self._volumes.discard(ident)
            return 202, b""
        if ident.startswith("volumes?"):  # which are in a status that passes
            listed = [] if "limit=1&" in ident else [{"id": one} for one in self._volumes]
            return 200, json.dumps({"volumes": listed}).encode()
        if ident in self._volumes:
            return 200, json.dumps({"volume": {**VOLUME, "id": ident}}).encode()
        return 404, b"{}"


def _length(head: str) -> int:
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


async def serve(port: int) -> None:
    volumes: set[str] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Responder(volumes), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
