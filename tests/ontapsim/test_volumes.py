"""FlexVols, their snapshots, groups, files and policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ontapsim.house import House

MIB = 1 << 20
POLICIES = "/storage/qos/policies"


def folder(house: House, name: str = "vol1") -> Path:
    return house.folder / "flexvols" / house.volume(name)


def test_as_the_seed_says(house: House) -> None:
    filters = "type=rw&style=flex*&is_svm_root=false&error_state.is_inconsistent=false&state=online"
    assert len(house.records(f"/storage/volumes?{filters}")) == 2
    (volume,) = house.records("/storage/volumes?nas.path=/vol1&fields=space.afs_total")
    assert volume["space"]["afs_total"] == 100 << 30


def test_created_grown_and_deleted(house: House) -> None:
    body = {"name": "vol3", "svm.name": "svm1", "aggregates": [{"name": "aggr1"}], "size": "1G"}
    house.api("POST", "/storage/volumes", body)
    uuid = house.volume("vol3")
    house.api("PATCH", f"/storage/volumes/{uuid}", {"size": "2G", "nas.path": "/vol3"})
    assert house.show(f"/storage/volumes/{uuid}")["size"] == 2 << 30
    house.lun("/vol/vol3/l")
    house.api("DELETE", f"/storage/volumes/{uuid}")
    assert not (house.folder / "flexvols" / uuid).exists()
    assert house.records("/storage/luns") == []


def test_names_are_unique(house: House) -> None:
    body = {"svm.name": "svm1", "name": "vol1", "aggregates": [{"name": "aggr1"}], "size": "1G"}
    assert house.refused("POST", "/storage/volumes", body) == "1"


def test_a_snapshot_keeps_luns_and_files_as_they_were(house: House) -> None:
    file = house.file(house.lun(size="1M"))
    file.write_bytes(b"old".ljust(MIB, b"\0"))
    (folder(house) / "note").write_text("old")
    house.api("POST", f"/storage/volumes/{house.volume()}/snapshots", {"name": "s"})
    file.write_bytes(b"new".ljust(MIB, b"\0"))
    (folder(house) / "note").write_text("new")
    copy = house.clone("/vol/vol1/.snapshot/s/lun1", "/vol/vol1/copy")
    assert house.file(copy).read_bytes()[:3] == b"old"
    uuid = house.volume()
    body = {"volume.uuid": uuid, "source_path": ".snapshot/s/note", "destination_path": "back"}
    house.api("POST", "/storage/file/clone", body)
    assert (folder(house) / "back").read_text() == "old"


def test_a_snapshot_takes_space_until_it_is_deleted(house: House) -> None:
    file = house.file(house.lun(size="1M"))
    file.write_bytes(b"x" * MIB)
    path = f"/storage/volumes/{house.volume()}/snapshots"
    house.api("POST", path, {"name": "s"})
    (volume,) = house.records("/storage/volumes?name=vol1&fields=space")
    assert volume["space"]["snapshot"]["used"] == MIB
    assert volume["space"]["available"] == (100 << 30) - 2 * MIB
    (snapshot,) = house.records(path)
    house.api("DELETE", f"{path}/{snapshot['uuid']}")
    assert list((house.folder / "snapshots").iterdir()) == []


def test_a_snapshot_is_renamed_and_names_are_unique(house: House) -> None:
    path = f"/storage/volumes/{house.volume()}/snapshots"
    house.api("POST", path, {"name": "s"})
    assert house.refused("POST", path, {"name": "s"}) == "1638461"
    uuid = house.records(path)[0]["uuid"]
    house.api("PATCH", f"{path}/{uuid}", {"name": "t"})
    assert [snapshot["name"] for snapshot in house.records(path)] == ["t"]


def test_no_clone_from_a_snapshot_that_cannot_be_seen(house: House) -> None:
    house.lun()
    uuid = house.volume()
    house.api("POST", f"/storage/volumes/{uuid}/snapshots", {"name": "s"})
    house.api("PATCH", f"/storage/volumes/{uuid}", {"snapshot_directory_access_enabled": False})
    source = "/vol/vol1/.snapshot/s/lun1"
    body = {"svm.name": "svm1", "name": "/vol/vol1/c", "clone.source.name": source}
    assert house.refused("POST", "/storage/luns", body) == "5374876"


def test_a_consistency_group_has_snapshots_of_one_moment(house: House) -> None:
    house.lun("/vol/vol1/a")
    house.lun("/vol/vol2/b")
    add = {"provisioning_options": {"action": "add"}}
    body = {
        "name": "cg",
        "svm.name": "svm1",
        "volumes": [{"name": n, **add} for n in ("vol1", "vol2")],
    }
    groups = "/application/consistency-groups"
    house.api("POST", groups, body)
    (group,) = house.records(f"{groups}?volumes.name=vol2")
    before = house.plane.stillness
    house.api("POST", f"{groups}/{group['uuid']}/snapshots", {"name": "s"})
    assert house.plane.stillness == before + 1
    again = {"name": "s"}
    assert house.refused("POST", f"{groups}/{group['uuid']}/snapshots", again) == "53411921"
    assert house.refused("POST", groups, body) == "53411860"
    house.api("DELETE", f"{groups}/{group['uuid']}")
    for name in ("vol1", "vol2"):
        assert len(house.records(f"/storage/volumes/{house.volume(name)}/snapshots")) == 1


def test_a_file_is_made_grown_renamed_listed_and_deleted(house: House) -> None:
    path = f"/storage/volumes/{house.volume()}/files"
    house.api("POST", f"{path}/disk%2Eimg", {"type": "file", "size": "1M"})
    house.api("PATCH", f"{path}/disk%2Eimg", {"size": "2M"})
    house.api("PATCH", f"{path}/disk%2Eimg", {"path": "new%2Eimg"})
    (file,) = house.records(f"{path}?type=file&fields=size,name")
    assert (file["name"], file["size"]) == ("new.img", 2 * MIB)
    house.api("DELETE", f"{path}/new%2Eimg")
    assert house.refused("DELETE", f"{path}/new%2Eimg") == "6684674"


def test_folders(house: House) -> None:
    path = f"/storage/volumes/{house.volume()}/files"
    house.api("POST", f"{path}/d", {"type": "directory", "unix_permissions": "750"})
    house.api("POST", f"{path}/d%2Ff", {"type": "file"})
    assert [file["name"] for file in house.records(f"{path}/d")] == ["f"]
    assert house.refused("DELETE", f"{path}/d") == "6684687"
    assert house.api("GET", f"{path}/d?return_metadata=true")["unix_permissions"] == 750
    house.api("DELETE", f"{path}/d?recurse=true")
    assert house.records(path) == []


@pytest.mark.parametrize("path", ["%2E%2E%2Fx", ".luns", ".luns%2Flun", "link%2Fpasswd"])
def test_nothing_outside_the_volume(house: House, path: str) -> None:
    house.lun()
    (folder(house) / "link").symlink_to("/etc")
    call = f"/storage/volumes/{house.volume()}/files/{path}?return_metadata=true"
    assert house.refused("GET", call) in ("262197", "6684674")


def test_bytes_of_a_file(house: House) -> None:
    path = f"/api/storage/volumes/{house.volume()}/files/f"
    form = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n%b\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert house.call("POST", path, form % b"hello", headers=kind).status == 201
    assert house.call("PATCH", f"{path}?byte_offset=1", form % b"u", headers=kind).status == 200
    wanted = {"Accept": "multipart/form-data"}
    answer = house.call("GET", f"{path}?byte_offset=0&length=3", headers=wanted)
    assert b"\r\n\r\nhul\r\n" in answer.raw


def test_clones_and_copies_of_files(house: House) -> None:
    (folder(house) / "f").write_text("hello")
    uuid = house.volume()
    body = {"volume": {"uuid": uuid}, "source_path": "f", "destination_path": "g"}
    house.api("POST", "/storage/file/clone", body)
    assert house.refused("POST", "/storage/file/clone", body) == "13565952"
    house.api("POST", "/storage/file/clone", body | {"overwrite_destination": True})
    other = house.volume("vol2")
    source = {"path": "vol1/g", "volume": {"uuid": uuid}}
    target = {"path": "vol2/h", "volume": {"uuid": other}}
    work = {"files_to_copy": [{"source": source, "destination": target}]}
    house.api("POST", "/storage/file/copy", work)
    assert (folder(house, "vol2") / "h").read_text() == "hello"


def test_the_cli_shows_a_files_own_bytes_and_clones_from_hidden_snapshots(house: House) -> None:
    (folder(house) / "f").write_bytes(b"x" * 8192)
    cli = "/private/cli/volume"
    usage = f"{cli}/file/show-disk-usage?vserver=svm1&fields=unique_bytes&path=/vol/vol1"
    assert house.api("GET", f"{usage}/f")["unique_bytes"] == "8KB"
    assert house.refused("GET", f"{usage}/none") == "917806"
    house.api("POST", f"/storage/volumes/{house.volume()}/snapshots", {"name": "s"})
    body = {"vserver": "svm1", "volume": "vol1", "source-path": "f", "destination-path": "g"}
    house.api("POST", f"{cli}/file/clone", body | {"snapshot-name": "s"})
    assert (folder(house) / "g").stat().st_size == 8192
    fields = "logical-data-size,logical-data-limit"
    (row,) = house.records(f"{cli}/efficiency?volume=vol1&vserver=svm1&fields={fields}")
    assert row["logical_data_size"] == 16384


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({}, "8454147"),
        ({"fixed": {}}, "8454147"),
        ({"fixed": {"max_throughput_iops": 1}, "adaptive": {}}, "8454147"),
        ({"fixed": {"max_throughput_iops": 1, "min_throughput_iops": 2}}, "8454148"),
        ({"fixed": {"max_throughput_iops": -1}}, "262197"),
        ({"adaptive": {"expected_iops": 5}}, "262186"),
        ({"adaptive": {"expected_iops": 5, "peak_iops": 4}}, "8454148"),
    ],
)
def test_policies_that_are_refused(house: House, limits: dict[str, object], code: str) -> None:
    assert house.refused("POST", POLICIES, {"svm.name": "svm1", "name": "p", **limits}) == code


def test_a_policy_in_use_stays(house: House) -> None:
    limits = {"expected_iops": "10", "peak_iops": "20", "block_size": "32K"}
    house.api("POST", POLICIES, {"svm.name": "svm1", "name": "p", "adaptive": limits})
    house.lun(**{"qos_policy.name": "p"})
    (policy,) = house.records(f"{POLICIES}?fields=adaptive,object_count")
    assert (policy["adaptive"]["block_size"], policy["object_count"]) == ("32k", 1)
    assert house.refused("DELETE", f"{POLICIES}/{policy['uuid']}") == "8454158"
    house.api("PATCH", "/storage/luns?name=/vol/vol1/lun1", {"qos_policy.name": "none"})
    house.api("PATCH", f"{POLICIES}?name=p", {"name": "deleted_p"})
    house.api("DELETE", f"{POLICIES}?name=deleted_*")
    assert house.records(POLICIES) == []


def test_the_cli_clones_a_lun_from_a_snapshot_that_cannot_be_seen(house: House) -> None:
    house.file(house.lun(size="1M")).write_bytes(b"old".ljust(MIB, b"\0"))
    uuid = house.volume()
    house.api("POST", f"/storage/volumes/{uuid}/snapshots", {"name": "s"})
    house.api("PATCH", f"/storage/volumes/{uuid}", {"snapshot_directory_access_enabled": False})
    body = {
        "vserver": "svm1",
        "volume": "vol1",
        "source-path": "lun1",
        "destination-path": "back",
        "snapshot-name": "s",
    }
    house.api("POST", "/private/cli/volume/file/clone", body)
    (lun,) = house.records("/storage/luns?name=/vol/vol1/back")
    assert house.file(lun["uuid"]).read_bytes()[:3] == b"old"
