"""Ways to a LUN, and what a LUN says of itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engines.process import free_port

from breezeblock.compute.hypervisor import HostError
from breezeblock.compute.iscsi_paths import naas_in, normal_naa, paths_of, serials_in, settled
from breezeblock.compute.storage_answers import answers

IQN = "iqn.1992-08.com.netapp:sn.1:vs.3"
ONE = {"target_portal": "192.0.2.1:3260", "target_iqn": IQN, "target_lun": 5}
# As iscsi-inq prints page 0x83 of an ONTAP LUN whose serial is "80AfB?Yf/2B1".
PAGE_83 = (
    b"Peripheral Qualifier:CONNECTED\nPage Code:(0x83) DEVICE_IDENTIFICATION\n"
    b"DEVICE DESIGNATOR #0\nCode Set:(2) ASCII\nPIV:0\nAssociation:(0) LOGICAL_UNIT\n"
    b"Designator Type:(1) T10_VENDORT_ID\nDesignator:[NETAPP   LUN 80AfB?Yf/2B1]\n"
    b"DEVICE DESIGNATOR #1\nCode Set:(1) BINARY\nPIV:0\nAssociation:(0) LOGICAL_UNIT\n"
    b"Designator Type:(3) NAA\nDesignator:[\x60\x0a\x09\x8080AfB?Yf/2B1]\n"
)
NAA = "600a0980" + b"80AfB?Yf/2B1".hex()


def test_a_portal_alone_is_the_only_way() -> None:
    [path] = paths_of(ONE)
    assert (path.portal, path.target, path.lun) == ("192.0.2.1:3260", IQN, 5)


def test_all_ways_in_the_storages_order_each_once() -> None:
    portals = ["192.0.2.2:3260", "[2001:db8::1]:3260", "192.0.2.2:3260", "192.0.2.1:3260"]
    data = {**ONE, "target_portals": portals, "target_iqns": [IQN] * 4, "target_luns": [5] * 4}
    assert [path.portal for path in paths_of(data)] == [portals[0], portals[1], portals[3]]


def test_one_number_of_a_lun_serves_all_portals() -> None:
    data = {**ONE, "target_portals": ["192.0.2.2:1", "192.0.2.3:1"], "target_iqns": [IQN, IQN]}
    assert [path.lun for path in paths_of(data)] == [5, 5]


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(HostError, match="differ"):
        paths_of({**ONE, "target_portals": ["192.0.2.1:1", "192.0.2.2:1"], "target_luns": [1]})


def test_a_serial_is_read_without_its_padding() -> None:
    assert serials_in(b"Unit Serial Number:[            80AfB?Yf/2B1]\n") == ["80AfB?Yf/2B1"]
    assert serials_in(b"Unit Serial Number:[a]b]\n") == ["a]b"]
    assert serials_in(b"Page:0x00 SUPPORTED_VPD_PAGES\n") == []


@pytest.mark.parametrize("spelling", [NAA, NAA.upper(), f"naa.{NAA}", f"0x{NAA}"])
def test_an_naa_is_compared_whatever_its_spelling(spelling: str) -> None:
    assert naas_in(PAGE_83) == [NAA] == [normal_naa(spelling)]


def test_of_an_naa_with_a_zero_byte_only_the_beginning_is_seen() -> None:
    assert normal_naa("60000000000e0000") == "60"


def test_what_is_no_naa_is_refused() -> None:
    with pytest.raises(HostError, match="no NAA"):
        normal_naa("not hex")


def test_no_portal_that_answers_is_said_for_each() -> None:
    portals = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]
    data = {**ONE, "target_portals": portals, "target_iqns": [IQN] * 2, "target_luns": [5] * 2}
    with pytest.raises(HostError) as refused:
        asyncio.run(settled(data, "iqn.2026-11.cloud.breezeblock:one"))
    assert all(f"{portal} is down" in refused.value.message for portal in portals)
    assert refused.value.temporary


@pytest.mark.parametrize(
    "node",
    [
        {"driver": "iscsi", "portal": "{}", "initiator-name": "iqn.2026-11.cloud.breezeblock:one"},
        {"driver": "nbd", "server": {"type": "inet", "host": "127.0.0.1", "port": "{}"}},
    ],
)
@pytest.mark.parametrize("says", [b"", b"SSH-2.0-something else, and quite a lot of it, 48 bytes"])
def test_a_server_of_another_kind_is_no_answer(node: dict[str, Any], says: bytes) -> None:
    async def ask() -> bool:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(says)
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            here = {**node, "portal": f"127.0.0.1:{port}"}
            if "server" in node:
                here["server"] = {**node["server"], "port": str(port)}
            return await answers(here)

    assert not asyncio.run(ask())
