"""A discovery session: an initiator asks which targets there are, and where."""

from __future__ import annotations

from collections.abc import Mapping

from breezeblock.ontapsim.iscsi import pdu
from breezeblock.ontapsim.iscsi.login import Opening, Wire
from breezeblock.ontapsim.iscsi.pdu import Op, Pdu, ProtocolError, Stage

# What we answer to what an initiator proposes. Nothing of it matters to a session without data.
_CHOICES: Mapping[str, str] = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "MaxConnections": "1",
    "InitialR2T": "Yes",
    "ImmediateData": "No",
    "MaxBurstLength": "8192",
    "FirstBurstLength": "8192",
    "MaxRecvDataSegmentLength": "8192",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "1",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "ErrorRecoveryLevel": "0",
    "IFMarker": "No",
    "OFMarker": "No",
}
_DECLARED = frozenset({"InitiatorName", "InitiatorAlias", "SessionType", "TargetName"})


def serve(wire: Wire, opening: Opening, target: str, portals: tuple[tuple[str, int], ...]) -> None:
    """Finish the login and answer until the initiator logs out."""
    request, number = opening.request, opening.number
    while True:
        values = choices(pdu.keys(request.data))
        last = request.transit and request.next_stage == Stage.FULL_FEATURE
        session = 1 if last else 0
        wire.write(pdu.login_answer(request, number, values=values, transit=last, session=session))
        number += 1
        if last:
            break
        request = wire.read()
    expected = request.command_number
    while True:
        request = wire.read()
        if not request.immediate:
            expected = (request.command_number + 1) & 0xFFFFFFFF
        wire.write(_answer(request, number, expected, target, portals))
        if request.op == Op.LOGOUT:
            return
        number = (number + 1) & 0xFFFFFFFF


def choices(keys: Mapping[str, str]) -> dict[str, str]:
    return {key: _CHOICES.get(key, "NotUnderstood") for key in keys if key not in _DECLARED}


def targets(asked: str, target: str, portals: tuple[tuple[str, int], ...]) -> bytes:
    """The answer to SendTargets."""
    if asked not in ("All", "", target):
        return b""
    lines = [f"TargetName={target}"]
    lines += [f"TargetAddress={address}:{port},1" for address, port in portals]
    return "".join(f"{line}\0" for line in lines).encode()


def _answer(
    request: Pdu, number: int, expected: int, target: str, portals: tuple[tuple[str, int], ...]
) -> Pdu:
    match request.op:
        case Op.TEXT:
            asked = pdu.keys(request.data).get("SendTargets", "All")
            found = targets(asked, target, portals)
            return pdu.answer(Op.TEXT_ANSWER, request, number, expected, found)
        case Op.LOGOUT:
            return pdu.answer(Op.LOGOUT_ANSWER, request, number, expected)
        case Op.NOP_OUT:
            return pdu.answer(Op.NOP_IN, request, number, expected, request.data)
        case other:
            raise ProtocolError(f"operation {other:#x} in a discovery session")
