"""Who is let in to a LUN, and what he is told."""

from __future__ import annotations

import string
from typing import Any

import httpx2
import pytest

from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.drivers.netapp.chap import SECRET_LENGTH, Chap
from breezeblock.drivers.netapp.exports import Exports, host_access, rotated, wwn
from breezeblock.drivers.netapp.igroups import Igroups
from breezeblock.drivers.netapp.luns import Lun
from tests.unit.drivers.netapp.ontap import client

ALICE, BOB = "iqn.2026-11.tests:alice", "iqn.2026-11.tests:bob"
KEY = "a key of the operator"


def exports(addresses: list[str], key: str | None = None, services: int = 1) -> Exports:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/interfaces"):
            found: list[Any] = [{"ip": {"address": one}} for one in addresses]
        else:
            target = {"name": "iqn.1992-08.com.netapp:sn.1"}
            found = [{"target": target, "svm": {"name": f"svm{n}"}} for n in range(services)]
        return httpx2.Response(200, json={"records": found})

    ontap = client(answer)
    return Exports(ontap, Igroups(ontap, "linux"), Chap(ontap, key))


LUN = Lun(uuid="u", path="/vol/pool/x", serial="80abc+-/1234")


def data(where: Exports, **connector: Any) -> dict[str, Any]:
    asked = {"host": "a", "initiator": ALICE, **connector}
    return dict(where.info(LUN, 7, "volume-id", asked, "ro").data)


def test_one_portal_is_told_plainly() -> None:
    found = data(exports(["192.0.2.1"]))
    assert found == {
        "target_discovered": False,
        "target_portal": "192.0.2.1:3260",
        "target_iqn": "iqn.1992-08.com.netapp:sn.1",
        "target_lun": 7,
        "volume_id": "volume-id",
        "discard": True,
        "read_only": True,
        "access_mode": "ro",
        "lun_serial": LUN.serial,
        "wwn": "600a098038306162632b2d2f31323334",
    }


def test_all_paths_are_told_where_there_are_several_or_they_are_asked_for() -> None:
    several = data(exports(["192.0.2.2", "2001:db8::1", "192.0.2.1"]))
    assert sorted(several["target_portals"]) == [
        "192.0.2.1:3260",
        "192.0.2.2:3260",
        "[2001:db8::1]:3260",
    ]
    assert several["target_portal"] == several["target_portals"][0]
    assert several["target_luns"] == [7, 7, 7] and len(set(several["target_iqns"])) == 1
    asked_for = data(exports(["192.0.2.1"]), multipath=True)
    assert asked_for["target_portals"] == ["192.0.2.1:3260"]


def test_volumes_begin_with_different_portals_each_always_with_the_same() -> None:
    portals = ("a", "b", "c")
    assert {rotated(portals, str(number))[0] for number in range(40)} == set(portals)
    assert rotated(portals, "x") == rotated(portals, "x")
    assert sorted(rotated(portals, "x")) == sorted(portals)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (exports([]), TemporaryError),
        (exports(["192.0.2.1"], services=0), PermanentError),
        (exports(["192.0.2.1"], services=2), PermanentError),
    ],
    ids=["no interface", "no service", "two services"],
)
def test_without_a_way_in_there_is_no_export(where: Exports, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        where.target()


def test_secrets_are_derived_and_differ_by_initiator_and_key() -> None:
    ontap = client(lambda _: pytest.fail("asked"))
    one, other = Chap(ontap, KEY).login(ALICE), Chap(ontap, KEY).login(BOB)
    foreign = Chap(ontap, KEY + "!").login(ALICE)
    assert one is not None and other is not None and foreign is not None
    assert one == Chap(ontap, KEY).login(ALICE)
    assert len({one.secret, other.secret, foreign.secret}) == 3
    assert one.user == other.user != foreign.user, "another key is recognised by its user"
    assert 12 <= len(one.secret) == SECRET_LENGTH <= 16
    assert set(one.secret) <= set(string.ascii_lowercase + string.digits)
    assert one.secret not in repr(one)
    assert Chap(ontap, None).login(ALICE) is None


def test_who_must_log_in_is_told_how_for_discovery_too() -> None:
    found = data(exports(["192.0.2.1"], KEY))
    assert found["auth_method"] == found["discovery_auth_method"] == "CHAP"
    assert found["auth_password"] == found["discovery_auth_password"]
    assert found["auth_username"] == found["discovery_auth_username"]


@pytest.mark.parametrize(
    "connector",
    [{"initiator": ALICE}, {"host": "", "initiator": ALICE}, {"host": "a"}, {"host": "a" * 300}],
    ids=str,
)
def test_a_connector_must_say_who_it_is(connector: dict[str, Any]) -> None:
    with pytest.raises(PermanentError):
        host_access(connector)


def test_the_identifier_that_hosts_see_comes_from_the_serial_number() -> None:
    assert wwn("80abc") == "600a0980" + "3830616263"
