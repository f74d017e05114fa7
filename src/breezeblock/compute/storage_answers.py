"""Does the server behind a protocol node answer? Asked before QEMU may depend on it.

QEMU itself cannot be asked: an idle client notices the death of its server only when it needs it,
and then it waits, the whole guest with it. Each server is greeted in its own protocol, because a
process that hangs still has its connections taken by the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from collections.abc import Mapping
from typing import Any

from breezeblock.compute.nbd_probe import server_answers
from breezeblock.compute.transports.iscsi import address

_PATIENCE = 2.0
_NFS_PORT = "2049"
_LOGIN_REQUEST, _LOGIN_RESPONSE = 0x43, 0x23  # RFC 7143, 11.12 and 11.13
_TO_OPERATIONAL_STAGE = 0x81
_RPC_CALL, _RPC_VERSION, _NFS_PROGRAM, _NFS_VERSION, _NULL_PROCEDURE = 0, 2, 100003, 3, 0
_LAST_FRAGMENT = 1 << 31


def bottom(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the node that talks to the server: a format may lie above it."""
    below = options.get("file")
    return dict(below) if isinstance(below, Mapping) else dict(options)


async def answers(options: Mapping[str, Any]) -> bool:
    """Whether the server of a node is there; what needs no server always is."""
    node = bottom(options)
    match node["driver"]:
        case "nbd":
            return await server_answers(node["server"])
        case "iscsi":
            host, port = address(node["portal"])
            return await _portal_answers(host.strip("[]"), port, node["initiator-name"])
        case "nfs":
            return await nfs_answers(node["server"]["host"])
    return True


async def _portal_answers(host: str, port: str, initiator: str) -> bool:
    """Ask to log in for discovery: yes and no are answers."""
    text = f"InitiatorName={initiator}\0SessionType=Discovery\0AuthMethod=None\0".encode()
    session = b"\x80" + secrets.token_bytes(5)
    header = struct.pack(
        ">BB2xB3s6s34x",
        _LOGIN_REQUEST,
        _TO_OPERATIONAL_STAGE,
        0,
        len(text).to_bytes(3, "big"),
        session,
    )
    reply = await _reply(host, port, header + text + bytes(-len(text) % 4), size=48)
    return reply[:1] == bytes([_LOGIN_RESPONSE])


async def nfs_answers(host: str, port: str = _NFS_PORT) -> bool:
    """Call the procedure that does nothing."""
    call = secrets.token_bytes(4)
    what = (_RPC_CALL, _RPC_VERSION, _NFS_PROGRAM, _NFS_VERSION, _NULL_PROCEDURE)
    message = call + struct.pack(">5I", *what) + bytes(16)  # no credentials, no verifier
    mark = struct.pack(">I", _LAST_FRAGMENT | len(message))
    reply = await _reply(host, port, mark + message, size=8)
    return reply[4:] == call


async def _reply(host: str, port: str, message: bytes, size: int) -> bytes:
    """The first bytes that come back; none when nothing does within two seconds."""
    writer = None
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(message)
            return await reader.readexactly(size)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return b""
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
