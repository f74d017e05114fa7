"""LUNs: how they come, change and go."""

from __future__ import annotations

import pytest

from tests.ontapsim.house import House

MIB = 1 << 20
A, B = "iqn.1994-05.com.redhat:a", "iqn.1994-05.com.redhat:b"


def test_a_new_lun_is_a_sparse_file_of_its_size(house: House) -> None:
    uuid = house.lun(size="3M")
    assert house.file(uuid).stat().st_size == 3 * MIB
    assert house.file(uuid).stat().st_blocks == 0


def test_a_new_lun_says_what_it_is(house: House) -> None:
    uuid = house.lun(comment="mine", attributes=[{"name": "owner", "value": "me"}])
    lun = house.show(f"/storage/luns/{uuid}")
    assert lun["name"] == "/vol/vol1/lun1"
    assert lun["comment"] == "mine"
    assert lun["os_type"] == "linux"
    assert lun["attributes"] == [{"name": "owner", "value": "me"}]
    assert len(str(lun["serial_number"])) == 12


def test_created_answers_201_with_a_location(house: House) -> None:
    body = {"svm.name": "svm1", "name": "/vol/vol1/x", "os_type": "linux", "space.size": 4096}
    answer = house.call("POST", "/api/storage/luns", body)
    assert answer.status == 201
    assert house.call("GET", answer.headers["location"]).body["name"] == "/vol/vol1/x"


def test_created_without_return_records_says_how_many_only(house: House) -> None:
    body = {"svm.name": "svm1", "name": "/vol/vol1/x", "os_type": "linux", "space.size": 4096}
    assert house.api("POST", "/storage/luns", body) == {"num_records": 1}


def test_several_in_one_request(house: House) -> None:
    bodies = [
        {"svm.name": "svm1", "name": f"/vol/vol1/{n}", "os_type": "linux", "space.size": 4096}
        for n in "ab"
    ]
    house.api("POST", "/storage/luns", {"records": bodies})
    assert len(house.records("/storage/luns")) == 2


def test_several_of_which_one_is_refused_leave_nothing(house: House) -> None:
    bodies = [
        {"svm.name": "svm1", "name": "/vol/vol1/a", "os_type": "linux", "space.size": 4096}
    ] * 2
    assert house.refused("POST", "/storage/luns", {"records": bodies}) == "5374242"
    assert house.records("/storage/luns") == []
    assert list(house.folder.glob("flexvols/*/.luns/*")) == []


@pytest.mark.parametrize(
    ("change", "code", "target"),
    [
        ({"name": "/vol/vol1/with space"}, "5374121", "name"),
        ({"name": "lun1"}, "5374862", "name"),
        ({"name": "/vol/vol1/" + "x" * 300}, "5374352", "name"),
        ({"name": "/vol/none/lun1"}, "917927", "name"),
        ({"svm.name": "other"}, "2621462", "svm.name"),
        ({"os_type": "plan9"}, "262197", "os_type"),
        ({"os_type": None}, "5374884", "os_type"),
        ({"space.size": 100}, "5374124", "space.size"),
        ({"space.size": "500T"}, "5374125", "space.size"),
        ({"space.size": "many"}, "262197", "space.size"),
        ({"space.size": True}, "262197", "space.size"),
        ({"colour": "blue"}, "262179", "colour"),
        ({"space.guarantee.requested": "perhaps"}, "262197", "space.guarantee.requested"),
        ({"qos_policy.name": "none-such"}, "8454243", "qos_policy.name"),
        ({"attributes": [{"name": "a"}]}, "262186", "attributes.value"),
        ({"attributes": [{"name": "a", "value": "x" * 4092}]}, "5374931", "attributes"),
    ],
)
def test_refused(house: House, change: dict[str, object], code: str, target: str) -> None:
    body = {"svm.name": "svm1", "name": "/vol/vol1/l", "os_type": "linux", "space.size": "1M"}
    answer = house.call("POST", "/api/storage/luns", {**body, **change})
    error = answer.body["error"]
    assert (error["code"], error["target"]) == (code, target)
    assert 400 <= answer.status < 500


def test_without_an_svm(house: House) -> None:
    body = {"name": "/vol/vol1/l", "os_type": "linux", "space.size": "1M"}
    assert house.refused("POST", "/storage/luns", body) == "2621707"


def test_the_same_name_twice(house: House) -> None:
    house.lun()
    body = {"svm.name": "svm1", "name": "/vol/vol1/lun1", "os_type": "linux", "space.size": "1M"}
    assert house.refused("POST", "/storage/luns", body) == "5374242"


def test_space_is_what_the_file_has(house: House) -> None:
    uuid = house.lun(size="4M")
    with house.file(uuid).open("r+b") as file:
        file.write(b"x" * MIB)
    assert house.show(f"/storage/luns/{uuid}")["space"]["used"] == MIB  # type: ignore[index]


def test_a_reservation_takes_from_the_volume(house: House) -> None:
    free = house.records("/storage/volumes?name=vol1&fields=space.available")
    house.lun(size="1G", **{"space.guarantee.requested": True})
    left = house.records("/storage/volumes?name=vol1&fields=space.available")
    assert free[0]["space"]["available"] - left[0]["space"]["available"] == 1 << 30


def test_a_reservation_beyond_the_volume_is_refused(house: House) -> None:
    body = {"svm.name": "svm1", "name": "/vol/vol1/l", "os_type": "linux", "space.size": "200G"}
    reserved = body | {"space.guarantee.requested": "true"}
    assert house.refused("POST", "/storage/luns", reserved) == "917534"
    house.api("POST", "/storage/luns", body)


def test_grows(house: House) -> None:
    uuid = house.lun(size="1M")
    house.api("PATCH", f"/storage/luns/{uuid}", {"space.size": "2M", "name": "/vol/vol1/lun1"})
    assert house.file(uuid).stat().st_size == 2 * MIB


@pytest.mark.parametrize(("size", "code"), [("1M", "1254226"), ("512K", "5374892")])
def test_does_not_keep_its_size_or_shrink(house: House, size: str, code: str) -> None:
    uuid = house.lun(size="1M")
    assert house.refused("PATCH", f"/storage/luns/{uuid}", {"space.size": size}) == code


def test_renamed_by_path(house: House) -> None:
    uuid = house.lun()
    house.api("PATCH", "/storage/luns?name=/vol/vol1/lun1", {"name": "/vol/vol1/lun2"})
    assert house.show(f"/storage/luns/{uuid}")["name"] == "/vol/vol1/lun2"


def test_not_renamed_to_a_name_in_use(house: House) -> None:
    house.lun()
    uuid = house.lun("/vol/vol1/lun2")
    body = {"name": "/vol/vol1/lun1"}
    assert house.refused("PATCH", f"/storage/luns/{uuid}", body) == "1254196"


def test_comment_and_thin_flag_change(house: House) -> None:
    uuid = house.lun()
    flag = "space.scsi_thin_provisioning_support_enabled"
    house.api("PATCH", f"/storage/luns/{uuid}", {"comment": "new", flag: "true"})
    lun = house.show(f"/storage/luns/{uuid}")
    assert lun["comment"] == "new"
    assert lun["space"]["scsi_thin_provisioning_support_enabled"] is True  # type: ignore[index]


def test_a_disabled_lun_is_not_served(house: House) -> None:
    uuid = house.lun()
    house.igroup("g", A)
    house.map("/vol/vol1/lun1", "g")
    house.api("PATCH", f"/storage/luns/{uuid}", {"enabled": False})
    assert house.svm().access[A] == {}
    assert house.show(f"/storage/luns/{uuid}")["status"]["state"] == "offline"  # type: ignore[index]


def test_deleted_with_its_file(house: House) -> None:
    uuid = house.lun()
    file = house.file(uuid)
    house.api("DELETE", "/storage/luns?name=/vol/vol1/lun1&svm=svm1")
    assert not file.exists()
    assert house.refused("GET", f"/storage/luns/{uuid}") == "5374875"


def test_a_mapped_lun_is_deleted_only_when_that_is_allowed(house: House) -> None:
    uuid = house.lun()
    house.igroup("g", A)
    house.map("/vol/vol1/lun1", "g")
    assert house.refused("DELETE", f"/storage/luns/{uuid}") == "1254197"
    house.api("DELETE", f"/storage/luns/{uuid}?allow_delete_while_mapped=true")
    assert house.records("/protocols/san/lun-maps") == []


def test_a_clone_has_the_contents_and_a_serial_of_its_own(house: House) -> None:
    uuid = house.lun(size="2M")
    with house.file(uuid).open("r+b") as file:
        file.write(b"hello")
    copy = house.clone("/vol/vol1/lun1", "/vol/vol1/copy")
    assert house.file(copy).read_bytes()[:5] == b"hello"
    serials = {lun["serial_number"] for lun in house.records("/storage/luns?fields=serial_number")}
    assert len(serials) == 2
    assert house.plane.stillness == 1


def test_a_clone_loses_thin_flag_and_policy_and_keeps_attributes(house: House) -> None:
    house.api(
        "POST",
        "/storage/qos/policies",
        {"svm.name": "svm1", "name": "p", "fixed": {"max_throughput_iops": 9}},
    )
    more = {"space.scsi_thin_provisioning_support_enabled": True, "qos_policy.name": "p"}
    house.lun(attributes=[{"name": "a", "value": "b"}], **more)
    lun = house.show("/storage/luns/" + house.clone("/vol/vol1/lun1", "/vol/vol1/copy"))
    assert lun["space"]["scsi_thin_provisioning_support_enabled"] is False  # type: ignore[index]
    assert "qos_policy" not in lun
    assert lun["attributes"] == [{"name": "a", "value": "b"}]


@pytest.mark.parametrize("more", [{"os_type": "linux"}, {"space.size": "1M"}, {"attributes": []}])
def test_what_a_clone_may_not_be_given(house: House, more: dict[str, object]) -> None:
    house.lun()
    body = {"svm.name": "svm1", "name": "/vol/vol1/c", "clone.source.name": "/vol/vol1/lun1"}
    assert house.refused("POST", "/storage/luns", body | more) == "5374883"


def test_a_clone_stays_in_its_volume(house: House) -> None:
    house.lun()
    body = {"svm.name": "svm1", "name": "/vol/vol2/c", "clone.source.name": "/vol/vol1/lun1"}
    assert house.refused("POST", "/storage/luns", body) == "13565952"


def test_no_clone_of_nothing(house: House) -> None:
    body = {"svm.name": "svm1", "name": "/vol/vol1/c", "clone.source.name": "/vol/vol1/none"}
    assert house.refused("POST", "/storage/luns", body) == "5374876"


def test_overwritten_it_keeps_identity_maps_and_attributes(house: House) -> None:
    uuid = house.lun(size="1M", attributes=[{"name": "a", "value": "b"}])
    house.igroup("g", A)
    house.map("/vol/vol1/lun1", "g")
    other = house.lun("/vol/vol1/other", size="2M")
    with house.file(other).open("r+b") as file:
        file.write(b"other")
    before = house.show(f"/storage/luns/{uuid}")
    house.api("PATCH", f"/storage/luns/{uuid}", {"clone.source.name": "/vol/vol1/other"})
    after = house.show(f"/storage/luns/{uuid}")
    same = ("uuid", "serial_number", "lun_maps", "attributes", "name")
    assert [before[key] for key in same] == [after[key] for key in same]
    assert after["space"]["size"] == 2 * MIB  # type: ignore[index]
    assert house.file(uuid).read_bytes()[:5] == b"other"
    assert house.svm().access[A][1].generation == 1


def test_moves_to_another_volume_and_serves_meanwhile(house: House) -> None:
    uuid = house.lun()
    house.igroup("g", A)
    house.map("/vol/vol1/lun1", "g")
    inode = house.file(uuid).stat().st_ino
    house.settings(move_seconds=1000)
    house.api("PATCH", f"/storage/luns/{uuid}", {"name": "/vol/vol2/lun1"})
    moving = house.records("/storage/luns?name=/vol/vol2/lun1&fields=movement.progress")
    assert moving[0]["movement"]["progress"]["state"] == "replicating"
    assert house.svm().access[A][1].path == house.file(uuid)
    house.settings(move_seconds=0)
    steer = {"movement.progress.state": "replicating"}
    house.api("PATCH", f"/storage/luns/{uuid}", steer)
    lun = house.show(f"/storage/luns/{uuid}")
    assert lun["movement"]["progress"]["state"] == "complete"  # type: ignore[index]
    assert house.file(uuid).stat().st_ino == inode
    assert house.volume("vol2") in str(house.svm().access[A][1].path)


def test_a_move_that_fails_leaves_the_lun_where_it_was(house: House) -> None:
    uuid = house.lun()
    house.control("POST", "faults", {"what": "transfer_fails", "method": "PATCH"})
    house.api("PATCH", f"/storage/luns/{uuid}", {"name": "/vol/vol2/lun1"})
    lun = house.show(f"/storage/luns/{uuid}")
    assert lun["name"] == "/vol/vol1/lun1"
    assert lun["movement"]["progress"]["failure"]["message"] == "Device busy"  # type: ignore[index]


def test_a_copy_to_another_volume(house: House) -> None:
    uuid = house.lun()
    house.file(uuid).write_bytes(b"hello".ljust(MIB, b"\0"))
    body = {"svm.name": "svm1", "name": "/vol/vol2/c", "copy.source.name": "/vol/vol1/lun1"}
    house.api("POST", "/storage/luns", body)
    (copy,) = house.records("/storage/luns?name=/vol/vol2/c&fields=copy.source.progress")
    assert copy["copy"]["source"]["progress"]["state"] == "complete"
    assert house.file(copy["uuid"]).read_bytes()[:5] == b"hello"


def test_attributes_of_their_own(house: House) -> None:
    path = f"/storage/luns/{house.lun()}/attributes"
    house.api("POST", path, {"name": "a", "value": "1"})
    house.api("PATCH", f"{path}/a", {"value": "2"})
    assert house.records(f"{path}?fields=value")[0]["value"] == "2"
    assert house.refused("POST", path, {"name": "a", "value": "1"}) == "5374929"
    house.api("DELETE", f"{path}/a")
    assert house.records(path) == []


def test_attributes_are_shown_when_asked_for(house: House) -> None:
    house.lun(attributes=[{"name": "a", "value": "1"}])
    assert "attributes" not in house.records("/storage/luns?fields=*")[0]
    (lun,) = house.records("/storage/luns?fields=attributes")
    assert lun["attributes"] == [{"name": "a", "value": "1"}]
    assert house.records("/storage/luns?attributes.name=b") == []


def test_bytes_without_a_host(house: House) -> None:
    uuid = house.lun()
    form = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nhello\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    path = f"/api/storage/luns/{uuid}"
    assert house.call("PATCH", f"{path}?data.offset=7", form, headers=kind).status == 200
    wanted = {"Accept": "multipart/form-data"}
    answer = house.call("GET", f"{path}?data.offset=6&data.size=7", headers=wanted)
    assert b"\r\n\r\n\0hello\0\r\n" in answer.raw
