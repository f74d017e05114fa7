"""iSCSI packets as far as the login front reads and writes them. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

HEADER = 48
NO_TAG = 0xFFFFFFFF
# A login's text is a few hundred bytes; more than this is not a login.
LARGEST_TEXT = 64 * 1024


class Op(IntEnum):
    NOP_OUT = 0x00
    LOGIN = 0x03
    TEXT = 0x04
    LOGOUT = 0x06
    NOP_IN = 0x20
    LOGIN_ANSWER = 0x23
    TEXT_ANSWER = 0x24
    LOGOUT_ANSWER = 0x26


class Stage(IntEnum):
    SECURITY = 0
    OPERATIONAL = 1
    FULL_FEATURE = 3


class Status(IntEnum):
    """How a login ends: class and detail."""

    SUCCESS = 0x0000
    INITIATOR_ERROR = 0x0200
    AUTHENTICATION_FAILED = 0x0201
    FORBIDDEN = 0x0202
    NOT_FOUND = 0x0203
    MISSING_PARAMETER = 0x0207
    SERVICE_UNAVAILABLE = 0x0301


class ProtocolError(Exception):
    """The bytes are not what a login may consist of."""


@dataclass(frozen=True, slots=True)
class Pdu:
    """A packet: its header as it came and its data without padding."""

    header: bytes
    data: bytes = b""

    def __post_init__(self) -> None:
        if len(self.header) != HEADER:
            raise ProtocolError(f"a header has {HEADER} bytes, not {len(self.header)}")

    @property
    def op(self) -> int:
        return self.header[0] & 0x3F

    @property
    def immediate(self) -> bool:
        return bool(self.header[0] & 0x40)

    @property
    def transit(self) -> bool:
        """The initiator wants to go to the next stage."""
        return bool(self.header[1] & 0x80)

    @property
    def continues(self) -> bool:
        """More text of the same request follows."""
        return bool(self.header[1] & 0x40)

    @property
    def stage(self) -> int:
        return (self.header[1] >> 2) & 3

    @property
    def next_stage(self) -> int:
        return self.header[1] & 3

    @property
    def tag(self) -> int:
        return self._word(16)

    @property
    def command_number(self) -> int:
        return self._word(24)

    @property
    def expected_status_number(self) -> int:
        return self._word(28)

    def _word(self, offset: int) -> int:
        (value,) = struct.unpack_from(">I", self.header, offset)
        return int(value)

    def packed(self) -> bytes:
        """As it goes over the wire: the header tells the data's length."""
        length = len(self.data).to_bytes(3, "big")
        return self.header[:5] + length + self.header[8:] + padded(self.data)

    def with_data(self, data: bytes) -> Pdu:
        return Pdu(self.header, data)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def data_length(header: bytes) -> int:
    """How many bytes of data follow a header; additional headers have no place in a login."""
    if header[4]:
        raise ProtocolError("additional header segments are not expected here")
    length = int.from_bytes(header[5:8], "big")
    if length > LARGEST_TEXT:
        raise ProtocolError(f"{length} bytes of text are too many")
    return length


def keys(data: bytes) -> dict[str, str]:
    """The text's keys; where one is repeated the first counts."""
    found: dict[str, str] = {}
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("the text is not UTF-8") from error
    for pair in text.split("\0"):
        key, separator, value = pair.partition("=")
        if separator:
            found.setdefault(key, value)
    return found


def text(values: Mapping[str, str]) -> bytes:
    return b"".join(f"{key}={value}\0".encode() for key, value in values.items())


def login_answer(
    request: Pdu,
    number: int,
    *,
    values: Mapping[str, str] | None = None,
    status: Status = Status.SUCCESS,
    transit: bool = False,
    session: int = 0,
) -> Pdu:
    """The answer to a login request. `number` counts answers; `session` is given with the last."""
    flags = (request.stage << 2) | (0x80 | request.next_stage if transit else 0)
    header = bytearray(HEADER)
    header[0] = Op.LOGIN_ANSWER
    header[1] = 0 if status else flags
    header[8:14] = request.header[8:14]
    struct.pack_into(">HI", header, 14, session, request.tag)
    command = request.command_number
    struct.pack_into(">IIIH", header, 24, number, command, _next(command), status)
    return Pdu(bytes(header), b"" if status else text(values or {}))


def answer(op: Op, request: Pdu, number: int, expected: int, data: bytes = b"") -> Pdu:
    """What answers a request of a discovery session; the command `expected` comes next."""
    header = bytearray(HEADER)
    header[0] = op
    header[1] = 0x80
    struct.pack_into(">I", header, 16, request.tag)
    if op is not Op.LOGOUT_ANSWER:
        struct.pack_into(">I", header, 20, NO_TAG)
    struct.pack_into(">III", header, 24, number, expected, _next(expected))
    return Pdu(bytes(header), data)


def _next(number: int) -> int:
    return (number + 1) & 0xFFFFFFFF
