"""iSCSI packets: what is read from a header, what an answer says, what keys a text has."""

from __future__ import annotations

import struct

import pytest

from breezeblock.ontapsim.iscsi import discovery, pdu
from breezeblock.ontapsim.iscsi.authentication import RefusedError
from breezeblock.ontapsim.iscsi.login import Names, Opening
from breezeblock.ontapsim.iscsi.pdu import Op, Pdu, ProtocolError, Stage, Status

ISID = bytes.fromhex("400001370000")


def _request(stage: Stage, to: Stage, data: bytes = b"") -> Pdu:
    header = bytearray(pdu.HEADER)
    header[0] = 0x40 | Op.LOGIN
    header[1] = 0x80 | stage << 2 | to
    header[8:14] = ISID
    struct.pack_into(">I", header, 16, 0xCAFE)
    struct.pack_into(">II", header, 24, 0xFFFFFFFF, 77)
    return Pdu(bytes(header), data)


def test_a_request_is_read() -> None:
    request = _request(Stage.SECURITY, Stage.OPERATIONAL)
    assert (request.op, request.immediate, request.transit) == (Op.LOGIN, True, True)
    assert (request.stage, request.next_stage) == (Stage.SECURITY, Stage.OPERATIONAL)
    assert (request.tag, request.command_number) == (0xCAFE, 0xFFFFFFFF)
    assert request.expected_status_number == 77
    assert not request.continues


def test_data_is_padded_and_its_length_told() -> None:
    packed = _request(Stage.SECURITY, Stage.OPERATIONAL, b"a=1\0b").packed()
    assert packed[5:8] == b"\0\0\5"
    assert packed[48:] == b"a=1\0b\0\0\0"
    assert pdu.data_length(packed[:48]) == 5


def test_a_header_has_48_bytes() -> None:
    with pytest.raises(ProtocolError):
        Pdu(b"short")


@pytest.mark.parametrize("wrong", [b"\1\0\0\0", b"\0\xff\xff\xff"])
def test_too_much_text_or_further_headers_are_refused(wrong: bytes) -> None:
    header = bytearray(48)
    header[4:8] = wrong
    with pytest.raises(ProtocolError):
        pdu.data_length(bytes(header))


def test_keys_and_text() -> None:
    assert pdu.keys(b"A=1\0B=x=y\0\0junk\0A=2\0") == {"A": "1", "B": "x=y"}
    assert pdu.text({"A": "1", "B": "2"}) == b"A=1\0B=2\0"
    with pytest.raises(ProtocolError):
        pdu.keys(b"A=\xff\0")


def test_an_answer_belongs_to_its_request() -> None:
    request = _request(Stage.SECURITY, Stage.OPERATIONAL)
    answer = pdu.login_answer(request, 77, values={"AuthMethod": "None"}, transit=True)
    assert answer.header[0] == Op.LOGIN_ANSWER
    assert answer.header[1] == 0x81
    assert answer.header[8:14] == ISID
    assert answer.tag == 0xCAFE
    # numbers: this answer, the next command, the last command that may come
    assert struct.unpack_from(">III", answer.header, 24) == (77, 0xFFFFFFFF, 0)
    assert answer.data == b"AuthMethod=None\0"


def test_without_transit_the_stage_stays() -> None:
    answer = pdu.login_answer(_request(Stage.SECURITY, Stage.OPERATIONAL), 77)
    assert answer.header[1] == 0


def test_a_refusal_says_its_status_and_nothing_else() -> None:
    request = _request(Stage.SECURITY, Stage.OPERATIONAL)
    answer = pdu.login_answer(request, 77, values={"A": "1"}, status=Status.FORBIDDEN, transit=True)
    assert struct.unpack_from(">H", answer.header, 36) == (0x0202,)
    assert answer.header[1] == 0
    assert answer.data == b""


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (
            {"InitiatorName": "iqn.A", "TargetName": "iqn.T"},
            Names("iqn.a", "iqn.t"),
        ),
        ({"InitiatorName": "iqn.a", "SessionType": "Discovery"}, Names("iqn.a", None)),
    ],
)
def test_names(keys: dict[str, str], names: Names) -> None:
    assert Names.of(keys) == names


@pytest.mark.parametrize("keys", [{}, {"TargetName": "iqn.t"}, {"InitiatorName": "iqn.a"}])
def test_names_that_are_missing(keys: dict[str, str]) -> None:
    with pytest.raises(RefusedError) as refused:
        Names.of(keys)
    assert refused.value.status is Status.MISSING_PARAMETER


def test_the_request_for_tgtd_names_its_target_and_keeps_the_rest() -> None:
    data = b"TargetName=iqn.t\0AuthMethod=None\0HeaderDigest=None\0FirstBurstLength=65536\0"
    request = _request(Stage.OPERATIONAL, Stage.FULL_FEATURE, data)
    told = Opening(Names("iqn.a", "iqn.t"), request, 78).towards("iqn.inner")
    assert told.header == request.header
    assert pdu.keys(told.data) == {
        "InitiatorName": "iqn.a",
        "TargetName": "iqn.inner",
        "SessionType": "Normal",
        "HeaderDigest": "None",
        "FirstBurstLength": "65536",
    }


def test_what_is_proposed_for_discovery_is_answered() -> None:
    proposed = {"HeaderDigest": "CRC32C,None", "SessionType": "Discovery", "X-com.acme": "1"}
    assert discovery.choices(proposed) == {"HeaderDigest": "None", "X-com.acme": "NotUnderstood"}


@pytest.mark.parametrize("asked", ["All", "", "iqn.t"])
def test_targets_at_all_portals(asked: str) -> None:
    portals = (("127.0.0.1", 3260), ("127.0.0.2", 3261))
    assert discovery.targets(asked, "iqn.t", portals) == (
        b"TargetName=iqn.t\0TargetAddress=127.0.0.1:3260,1\0TargetAddress=127.0.0.2:3261,1\0"
    )


def test_another_target_is_not_told_of() -> None:
    assert discovery.targets("iqn.other", "iqn.t", (("127.0.0.1", 3260),)) == b""
