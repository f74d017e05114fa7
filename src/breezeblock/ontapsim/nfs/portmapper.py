"""Where the programs of an SVM are to be found, for those who ask, and for those who tell.

Hosts ask at port 111 of a LIF (version 2, as libnfs does). Ganesha insists on telling a portmapper
where it is, through a socket of the machine's; it is given one that believes everything, because
what hosts are told is decided here and not there.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping

from breezeblock.ontapsim.nfs.rpc import (
    NO_PROCEDURE,
    NO_PROGRAM,
    PORTMAPPER,
    Call,
    answer,
    parse_call,
    read_record,
)

PORT = 111
_TCP = 6
_NULL, _SET, _UNSET, _GET_PORT, _DUMP = range(5)
_TRUE = struct.pack(">I", 1)

Table = Mapping[tuple[int, int], int]
"""TCP ports by program and version."""


def serve_hosts(stream: socket.socket, table: Table) -> None:
    """Answer a host: GETPORT, and DUMP for the curious."""
    for call in _calls(stream):
        if (call.program, call.version) != (PORTMAPPER, 2):
            reply = answer(call, status=NO_PROGRAM)
        elif call.procedure == _NULL:
            reply = answer(call)
        elif call.procedure == _GET_PORT and len(call.arguments) >= 16:
            program, version, protocol, _ = struct.unpack_from(">4I", call.arguments)
            port = table.get((program, version), 0) if protocol == _TCP else 0
            reply = answer(call, struct.pack(">I", port))
        elif call.procedure == _DUMP:
            reply = answer(call, _dump(table))
        else:
            reply = answer(call, status=NO_PROCEDURE)
        stream.sendall(reply)


def _dump(table: Table) -> bytes:
    entries = (
        struct.pack(">5I", 1, program, version, _TCP, port)
        for (program, version), port in table.items()
    )
    return b"".join(entries) + struct.pack(">I", 0)


def believe(stream: socket.socket) -> None:
    """Accept what a server registers and takes back."""
    for call in _calls(stream):
        if call.program == PORTMAPPER and call.procedure in (_SET, _UNSET):
            stream.sendall(answer(call, _TRUE))
        elif call.procedure == _NULL:
            stream.sendall(answer(call))
        else:
            stream.sendall(answer(call, status=NO_PROCEDURE))


def _calls(stream: socket.socket) -> Iterator[Call]:
    """The calls that come over a stream, until it ends or something else comes."""
    while record := read_record(stream):
        try:
            yield parse_call(record)
        except ValueError:
            return
