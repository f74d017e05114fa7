"""Who gets in: discovery, names, CHAP; on the real tgtd with a real initiator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from breezeblock.ontapsim.data_plane import Credential
from breezeblock.ontapsim.iscsi import IscsiDataPlane
from tests.ontapsim.iscsi import ALICE, BOB, TARGET, Array, Disk, discover, inquire

SECRET, OTHER = "correct-horse-1", "battery-staple-2"


@pytest.fixture
def array(tmp_path: Path) -> Iterator[Array]:
    plane = IscsiDataPlane(tmp_path)
    plane.start()
    try:
        yield Array(tmp_path, plane)
    finally:
        plane.stop()


def _secret(password: str = SECRET) -> Credential:
    return Credential("chap", "joe", password)


def test_discovery_names_the_one_target_at_all_portals(array: Array) -> None:
    array.show({ALICE: {1: array.lun("a")}})
    found = discover(ALICE, array.portals[1])
    assert {f"Target:{TARGET} Portal:{address}:{port},1" for address, port in array.portals} == set(
        re.findall(r"Target:\S+ Portal:\S+", found)
    )


def test_a_lun_says_what_an_ontap_lun_says(array: Array) -> None:
    unit = replace(array.lun("a"), serial="80GAg?PQnO3s")
    array.show({ALICE: {1: unit}})
    inquiry = inquire(ALICE, array.url(1))
    assert "Vendor:NETAPP" in inquiry
    assert "Product:LUN C-Mode" in inquiry
    serial = inquire(ALICE, array.url(1), "-e", "1", "-c", "128")
    assert "80GAg?PQnO3s" in serial
    names = inquire(ALICE, array.url(1), "-e", "1", "-c", "131")
    assert "Designator Type:(3) NAA\nDesignator:[\x60\x0a\x09\x8080GAg?PQnO3s]" in names


def test_an_initiator_in_no_igroup_is_refused(array: Array) -> None:
    array.show({ALICE: {1: array.lun("a")}})
    assert "(514)" in inquire(BOB, array.url(1))


def test_another_target_is_not_found(array: Array) -> None:
    array.show({ALICE: {1: array.lun("a")}})
    assert "(515)" in inquire(ALICE, array.url(1, target=TARGET + "3"))


def test_names_are_the_same_in_both_cases(array: Array) -> None:
    array.show({ALICE.upper(): {1: array.lun("a")}})
    assert "NETAPP" in inquire(ALICE, array.url(1))


@pytest.mark.parametrize(
    ("user", "outcome"),
    [
        (f"joe%{SECRET}", "NETAPP"),
        (f"joe%{OTHER}", "(513)"),
        (f"jim%{SECRET}", "(513)"),
        ("", "(513)"),
    ],
)
def test_chap(array: Array, user: str, outcome: str) -> None:
    array.credentials = {ALICE: _secret()}
    array.show({ALICE: {1: array.lun("a")}})
    assert outcome in inquire(ALICE, array.url(1, user=user))


def test_one_user_has_a_secret_per_initiator(array: Array) -> None:
    array.credentials = {ALICE: _secret(), BOB: _secret(OTHER)}
    unit = array.lun("a")
    array.show({ALICE: {1: unit}, BOB: {1: unit}})
    assert "NETAPP" in inquire(ALICE, array.url(1, user=f"joe%{SECRET}"))
    assert "NETAPP" in inquire(BOB, array.url(1, user=f"joe%{OTHER}"))
    assert "(513)" in inquire(BOB, array.url(1, user=f"joe%{SECRET}"))


def test_the_default_credential_is_for_all_who_have_none(array: Array) -> None:
    array.credentials = {"default": _secret(), BOB: Credential("none")}
    unit = array.lun("a")
    array.show({ALICE: {1: unit}, BOB: {1: unit}})
    assert "(513)" in inquire(ALICE, array.url(1))
    assert "NETAPP" in inquire(ALICE, array.url(1, user=f"joe%{SECRET}"))
    assert "NETAPP" in inquire(BOB, array.url(1))


def test_who_is_denied_cannot_even_discover(array: Array) -> None:
    array.credentials = {"default": Credential("deny"), ALICE: _secret()}
    unit = array.lun("a")
    array.show({ALICE: {1: unit}, BOB: {1: unit}})
    assert "(513)" in inquire(BOB, array.url(1, user=f"joe%{SECRET}"))
    assert "Target:" not in discover(BOB, array.portals[0])
    assert "Target:" in discover(ALICE, array.portals[0], user=f"joe%{SECRET}")


@pytest.mark.parametrize(("theirs", "outcome"), [(OTHER, "NETAPP"), (SECRET, "rror")])
def test_the_array_proves_itself_too(array: Array, theirs: str, outcome: str) -> None:
    array.credentials = {ALICE: Credential("chap", "joe", SECRET, "array", OTHER)}
    array.show({ALICE: {1: array.lun("a")}})
    more = f"?target_user=array&target_password={theirs}"
    found = inquire(ALICE, array.url(1, user=f"joe%{SECRET}", more=more))
    assert ("NETAPP" in found) == (outcome == "NETAPP"), found


def test_an_array_without_an_outbound_secret_proves_nothing(array: Array) -> None:
    array.credentials = {ALICE: _secret()}
    array.show({ALICE: {1: array.lun("a")}})
    more = f"?target_user=array&target_password={OTHER}"
    assert "(513)" in inquire(ALICE, array.url(1, user=f"joe%{SECRET}", more=more))


def test_a_new_secret_counts_from_the_next_login(array: Array) -> None:
    array.credentials = {ALICE: _secret()}
    array.show({ALICE: {1: array.lun("a")}})
    with Disk(array, ALICE, 1, secret=SECRET) as disk:
        assert "wrote" in disk.write(0, 4096, 1)
        array.credentials = {ALICE: _secret(OTHER)}
        array.publish()
        assert disk.holds(0, 4096, 1)
        assert "(513)" in inquire(ALICE, array.url(1, user=f"joe%{SECRET}"))
        assert "NETAPP" in inquire(ALICE, array.url(1, user=f"joe%{OTHER}"))


def test_an_initiator_without_luns_may_log_in(array: Array) -> None:
    array.show({ALICE: {}})
    assert "STORAGE_ARRAY_CONTROLLER" in inquire(ALICE, array.url(0))


def test_sixteen_logins_at_once(array: Array) -> None:
    hosts = [f"{ALICE}{number}" for number in range(16)]
    array.credentials = {"default": _secret()}
    array.show({host: {1: array.lun(f"x{number}")} for number, host in enumerate(hosts)})
    url = array.url(1, user=f"joe%{SECRET}")
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda host: inquire(host, url, "-e", "1", "-c", "128"), hosts))
    for number, serial in enumerate(found):
        assert array.access[hosts[number]][1].serial in serial
