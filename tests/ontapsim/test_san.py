"""Igroups, maps and credentials, and what hosts see of them."""

from __future__ import annotations

import pytest

from breezeblock.ontapsim.data_plane import Credential
from tests.ontapsim.house import House

A, B = "iqn.1994-05.com.redhat:a", "iqn.1994-05.com.redhat:b"
CREDENTIALS = "/protocols/san/iscsi/credentials"


def test_a_mapped_lun_is_seen_by_the_igroup_only(house: House) -> None:
    uuid = house.lun()
    house.igroup("g", A)
    house.igroup("h", B)
    assert house.map("/vol/vol1/lun1", "g") == 1
    assert house.svm().access[A][1].path == house.file(uuid)
    assert house.svm().access[B] == {}


def test_the_lowest_free_number_of_all_that_share_an_initiator(house: House) -> None:
    for name in "abcd":
        house.lun(f"/vol/vol1/{name}")
    house.igroup("g", A)
    house.igroup("both", A, B)
    assert [house.map("/vol/vol1/a", "g"), house.map("/vol/vol1/b", "both")] == [1, 2]
    assert house.map("/vol/vol1/c", "g") == 3
    (seen,) = house.records("/protocols/san/lun-maps?lun.name=/vol/vol1/a")
    house.api("DELETE", f"/protocols/san/lun-maps/{seen['lun']['uuid']}/{seen['igroup']['uuid']}")
    assert house.map("/vol/vol1/d", "both") == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "1254207"),
        ({"igroup.name": "none"}, "5374878"),
        ({"lun.name": "/vol/vol1/none"}, "1254201"),
        ({"igroup.name": "h"}, "1254193"),
        ({"lun.name": "/vol/vol1/other", "logical_unit_number": 1}, "1254324"),
        ({"lun.name": "/vol/vol1/other", "logical_unit_number": 5000}, "262197"),
    ],
)
def test_maps_that_are_refused(house: House, change: dict[str, object], code: str) -> None:
    house.lun()
    house.lun("/vol/vol1/other")
    house.igroup("g", A)
    house.igroup("h", A)
    house.map("/vol/vol1/lun1", "g")
    body = {"svm.name": "svm1", "lun.name": "/vol/vol1/lun1", "igroup.name": "g"}
    assert house.refused("POST", "/protocols/san/lun-maps", body | change) == code


def test_a_map_that_is_gone(house: House) -> None:
    lun, group = house.lun(), house.igroup("g", A)
    assert house.refused("DELETE", f"/protocols/san/lun-maps/{lun}/{group}") == "5374922"


def test_an_igroup_goes_with_its_last_map(house: House) -> None:
    lun, group = house.lun(), house.igroup("g", A, delete_on_unmap=True)
    house.map("/vol/vol1/lun1", "g")
    house.api("DELETE", f"/protocols/san/lun-maps/{lun}/{group}")
    assert house.records("/protocols/san/igroups") == []


def test_an_igroup_with_maps_is_not_deleted(house: House) -> None:
    house.lun()
    group = house.igroup("g", A)
    house.map("/vol/vol1/lun1", "g")
    assert house.refused("DELETE", f"/protocols/san/igroups/{group}") == "1254213"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "5374023"),
        ({"name": "x" * 97}, "5374027"),
        ({"name": "h", "os_type": "solaris_efi"}, "262197"),
        ({"name": "h", "protocol": "nvme"}, "262197"),
        ({"name": "h", "comment": "x" * 255}, "5374119"),
        ({"name": "h", "initiators": [{"name": "nobody"}]}, "5374039"),
        ({"name": "h", "initiators": [{"name": A}, {"name": A}]}, "5374035"),
    ],
)
def test_igroups_that_are_refused(house: House, change: dict[str, object], code: str) -> None:
    house.igroup("g")
    body = {"svm.name": "svm1", "name": "g", "os_type": "linux", "protocol": "iscsi"}
    assert house.refused("POST", "/protocols/san/igroups", body | change) == code


def test_initiators_come_and_go(house: House) -> None:
    path = f"/protocols/san/igroups/{house.igroup('g', A)}/initiators"
    house.api("POST", path, {"name": B})
    assert house.refused("POST", path, {"name": B}) == "5374035"
    house.api("DELETE", f"{path}/{A}")
    assert list(house.svm().access) == [B]


def test_an_initiator_must_not_see_a_number_twice(house: House) -> None:
    for name, group, initiator in (("a", "g", A), ("b", "h", B)):
        house.lun(f"/vol/vol1/{name}")
        house.igroup(group, initiator)
        house.map(f"/vol/vol1/{name}", group)
    (group,) = house.records("/protocols/san/igroups?name=g")
    path = f"/protocols/san/igroups/{group['uuid']}/initiators"
    assert house.refused("POST", path, {"name": B}) == "1254324"


def test_lun_maps_of_an_igroup_when_asked_for(house: House) -> None:
    lun = house.lun()
    house.igroup("g", A)
    house.map("/vol/vol1/lun1", "g")
    assert "lun_maps" not in house.records("/protocols/san/igroups?fields=*")[0]
    (group,) = house.records("/protocols/san/igroups?fields=lun_maps")
    assert group["lun_maps"][0]["lun"]["uuid"] == lun


def test_a_credential_reaches_hosts_and_not_clients(house: House) -> None:
    chap = {"inbound": {"user": "u", "password": "secret"}}
    body = {"svm.name": "svm1", "initiator": A, "authentication_type": "chap", "chap": chap}
    house.api("POST", CREDENTIALS, body)
    assert house.svm().credentials[A] == Credential("chap", "u", "secret")
    assert "secret" not in str(house.records(f"{CREDENTIALS}?fields=**"))


def test_a_credential_changes_and_goes(house: House) -> None:
    body = {"svm.name": "svm1", "initiator": "default", "authentication_type": "deny"}
    house.api("POST", CREDENTIALS, body)
    assert house.refused("POST", CREDENTIALS, body) == "5374142"
    path = f"{CREDENTIALS}/{house.records(CREDENTIALS)[0]['svm']['uuid']}/default"
    assert house.refused("PATCH", path, {"authentication_type": "chap"}) == "5374149"
    house.api("PATCH", path, {"authentication_type": "none"})
    assert house.svm().credentials["default"].kind == "none"
    house.api("DELETE", path)
    assert house.refused("DELETE", path) == "5374895"


def test_the_iscsi_service_stops(house: House) -> None:
    (service,) = house.records("/protocols/san/iscsi/services?fields=target.name")
    assert service["target"]["name"] == house.svm().target
    path = f"/protocols/san/iscsi/services/{service['svm']['uuid']}"
    house.api("PATCH", path, {"enabled": False})
    assert house.svm().enabled is False
