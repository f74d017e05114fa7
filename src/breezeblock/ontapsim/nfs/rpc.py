"""The little of ONC RPC that is needed: calls and answers in records, as they go over streams."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

NFS = 100003
MOUNT = 100005
PORTMAPPER = 100000

_LAST = 0x8000_0000
_CALL, _REPLY = 0, 1
_ACCEPTED = (0, 0, 0)  # accepted, no verifier
SUCCESS, NO_PROGRAM, NO_PROCEDURE = 0, 1, 3
_MOST = 1 << 20
_PATIENCE = 10.0
# AUTH_SYS: stamp, no machine name, user and group 0, no further groups; and no verifier.
_SUPERUSER = struct.pack(">2I5I2I", 1, 20, *[0] * 5, 0, 0)


@dataclass(frozen=True, slots=True)
class Call:
    number: int
    program: int
    version: int
    procedure: int
    arguments: bytes


def read_record(stream: socket.socket) -> bytes | None:
    """The next record, put together; nothing when the other end has gone."""
    record = b""
    while True:
        head = _read(stream, 4)
        if head is None:
            return None
        (length,) = struct.unpack(">I", head)
        if len(record) + (length & ~_LAST) > _MOST:
            return None
        fragment = _read(stream, length & ~_LAST)
        if fragment is None:
            return None
        record += fragment
        if length & _LAST:
            return record


def _read(stream: socket.socket, length: int) -> bytes | None:
    data = b""
    while len(data) < length:
        more = stream.recv(length - len(data))
        if not more:
            return None
        data += more
    return data


def parse_call(record: bytes) -> Call:
    """The call in a record; ValueError when it is none."""
    try:
        number, kind, _, program, version, procedure = struct.unpack_from(">6I", record)
        place = 24
        for _ in ("credential", "verifier"):
            _, length = struct.unpack_from(">2I", record, place)
            place += 8 + (length + 3 & ~3)
    except struct.error as error:
        raise ValueError("too short for a call") from error
    if kind != _CALL:
        raise ValueError("not a call")
    return Call(number, program, version, procedure, record[place:])


def answer(call: Call, result: bytes = b"", *, status: int = SUCCESS) -> bytes:
    return _record(struct.pack(">6I", call.number, _REPLY, *_ACCEPTED, status) + result)


def call(address: tuple[str, int], wanted: Call) -> bytes:
    """Call a server as the superuser; its result. OSError when there is none."""
    with socket.create_connection(address, timeout=_PATIENCE) as stream:
        head = (wanted.number, _CALL, 2, wanted.program, wanted.version, wanted.procedure)
        body = struct.pack(">6I", *head) + _SUPERUSER + wanted.arguments
        stream.sendall(_record(body))
        reply = read_record(stream)
    if reply is None or len(reply) < 24 or struct.unpack(">6I", reply[:24])[2:] != (0, 0, 0, 0):
        raise ConnectionError("no success")
    return reply[24:]


def opaque(data: bytes) -> bytes:
    """Bytes of any length, as arguments and results hold them."""
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def _record(body: bytes) -> bytes:
    return struct.pack(">I", _LAST | len(body)) + body
