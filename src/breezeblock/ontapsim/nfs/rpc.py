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


def answers(address: tuple[str, int], program: int, version: int) -> bool:
    """Whether there is a server that does nothing when asked to (procedure 0)."""
    try:
        with socket.create_connection(address, timeout=5) as stream:
            stream.sendall(_record(struct.pack(">6I4I", 1, _CALL, 2, program, version, *[0] * 5)))
            return read_record(stream) is not None
    except OSError:
        return False


def _record(body: bytes) -> bytes:
    return struct.pack(">I", _LAST | len(body)) + body
