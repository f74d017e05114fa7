"""The part of a login that the front answers itself: who is it, to whom, may it?"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from breezeblock.ontapsim.data_plane import Credential
from breezeblock.ontapsim.iscsi import pdu
from breezeblock.ontapsim.iscsi.authentication import Authentication, RefusedError
from breezeblock.ontapsim.iscsi.pdu import Op, Pdu, ProtocolError, Stage, Status

_NAMES = ("InitiatorName", "TargetName", "SessionType", "AuthMethod")


class Wire:
    """A connection, packet by packet."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def read(self) -> Pdu:
        header = self._exactly(pdu.HEADER)
        length = pdu.data_length(header)
        return Pdu(header, self._exactly(length + -length % 4)[:length])

    def write(self, packet: Pdu) -> None:
        self._connection.sendall(packet.packed())

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


@dataclass(frozen=True, slots=True)
class Names:
    """Who logs in, and where to. A discovery session has no target."""

    initiator: str
    target: str | None

    @classmethod
    def of(cls, keys: Mapping[str, str]) -> Names:
        initiator = keys.get("InitiatorName", "").lower()
        discovery = keys.get("SessionType", "Normal") == "Discovery"
        target = None if discovery else keys.get("TargetName", "").lower()
        if not initiator or target == "":
            raise RefusedError(Status.MISSING_PARAMETER)
        return cls(initiator, target)


@dataclass(frozen=True, slots=True)
class Opening:
    """A login that has come to its operational stage: the request that opens it is to be answered.

    `number` is that of the next answer.
    """

    names: Names
    request: Pdu
    number: int

    def towards(self, target: str) -> Pdu:
        """The request as the first of a login to that target."""
        told = {key: value for key, value in self._keys().items() if key not in _NAMES}
        names = {
            "InitiatorName": self.names.initiator,
            "TargetName": target,
            "SessionType": "Normal",
        }
        return self.request.with_data(pdu.text({**names, **told}))

    def _keys(self) -> dict[str, str]:
        return pdu.keys(self.request.data)


def open_login(wire: Wire, credential: Callable[[Names], Credential]) -> Opening:
    """Take a login through its security stage.

    `credential` says what an initiator has to prove, or raises RefusedError. A login that is
    refused has been told so when that error comes out of here.
    """
    login = _Login(wire)
    request, answered = login.next()
    try:
        names = Names.of(pdu.keys(request.data))
        authentication = Authentication(credential(names))
        first = {} if names.target is None else {"TargetPortalGroupTag": "1"}
        while request.stage == Stage.SECURITY:
            values = {**first, **authentication.step(pdu.keys(request.data))}
            first = {}
            leaves = authentication.done and request.transit
            if leaves and request.next_stage != Stage.OPERATIONAL:
                raise RefusedError(Status.INITIATOR_ERROR)
            login.answer(request, values, transit=leaves)
            request, answered = login.next()
        if request.stage != Stage.OPERATIONAL:
            raise RefusedError(Status.INITIATOR_ERROR)
        authentication.skip()
    except RefusedError as refused:
        wire.write(pdu.login_answer(request, answered, status=refused.status))
        raise
    return Opening(names, request, answered)


class _Login:
    """Requests and answers in turn, numbered from where the initiator begins."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._number: int | None = None

    def next(self) -> tuple[Pdu, int]:
        """The next request, whole, and the number of its answer."""
        data = b""
        while True:
            request = self._wire.read()
            if request.op != Op.LOGIN:
                raise ProtocolError(f"operation {request.op:#x} before the login")
            if self._number is None:
                self._number = request.expected_status_number
            data += request.data
            if len(data) > pdu.LARGEST_TEXT:
                raise ProtocolError("the login's text does not end")
            if not request.continues:
                return request.with_data(data), self._number
            self.answer(request, {})

    def answer(self, request: Pdu, values: Mapping[str, str], *, transit: bool = False) -> None:
        number = self._number or 0
        self._wire.write(pdu.login_answer(request, number, values=values, transit=transit))
        self._number = (number + 1) & 0xFFFFFFFF
