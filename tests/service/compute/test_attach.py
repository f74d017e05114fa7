"""Volumes of servers over HTTP: attach, list, change, detach."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.compute.hypervisor import HostError
from breezeblock.drivers.base import PermanentError
from breezeblock.model.ids import new_id
from breezeblock.model.servers import ServerVolume
from breezeblock.store import servers
from breezeblock.store.store import WriteTx
from tests.service.compute.cloud import HOST, ComputeCloud

NOWHERE = "00000000-0000-4000-8000-000000000000"


async def test_an_attached_volume_is_in_the_guest_and_in_use(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    reply = await cloud.attach(server, volume, "2.1")
    assert reply.status_code == 200
    assert reply.json()["volumeAttachment"] == {
        "id": volume,
        "volumeId": volume,
        "serverId": server,
        "device": "/dev/vdb",
    }
    assert cloud.disks(server) == {volume: "/dev/vdb"}
    shown = await cloud.house.show(volume)
    assert (shown["status"], shown["attachments"][0]["server_id"]) == ("in-use", server)
    assert shown["attachments"][0]["device"] == "/dev/vdb"
    assert cloud.house.driver.exports == {(volume, HOST)}


async def test_the_agent_goes_through_the_steps_of_the_wire(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    cloud.effects.restart()
    await cloud.attach(server, volume)
    assert cloud.effects.done == [
        "POST /v3/attachments",
        "PUT /v3/attachments/*",
        f"attach {volume}",
        "POST /v3/attachments/*/action",
    ]


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("2.1", {"id", "volumeId", "serverId", "device"}),
        ("2.70", {"id", "volumeId", "serverId", "device", "tag"}),
        ("2.79", {"id", "volumeId", "serverId", "device", "tag", "delete_on_termination"}),
        (
            "2.89",
            {"volumeId", "serverId", "device", "tag", "delete_on_termination"}
            | {"attachment_id", "bdm_uuid"},
        ),
    ],
)
async def test_each_version_shows_its_fields(
    cloud: ComputeCloud, version: str, fields: set[str]
) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    [listed] = await cloud.attachments(server, version)
    path = f"/servers/{server}/os-volume_attachments/{volume}"
    shown = (await cloud.member.call("GET", path, version=version)).json()["volumeAttachment"]
    assert (set(listed), shown) == (fields, listed)


async def test_the_attachment_id_shown_is_block_storages_own(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    [made] = await cloud.storage_attachments(volume)
    assert (await cloud.attachments(server, "2.89"))[0]["attachment_id"] == made["id"]


async def test_from_2_101_on_attaching_does_not_wait(still: ComputeCloud) -> None:
    server = await still.create()
    await still.drive()
    volume = await still.house.volume()
    reply = await still.attach(server, volume, "2.101")
    assert (reply.status_code, reply.content) == (202, b"")
    assert await still.house.status(volume) == "available"
    await still.drive()
    assert await still.house.status(volume) == "in-use"


async def test_the_wanted_device_tag_and_fate_are_kept(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    wishes = {"device": "/dev/vdf", "tag": "logs", "delete_on_termination": True}
    reply = await cloud.attach(server, volume, "2.79", **wishes)
    assert wishes.items() <= reply.json()["volumeAttachment"].items()
    assert cloud.disks(server) == {volume: "/dev/vdf"}


async def test_a_stopped_server_gets_the_disk_when_it_starts(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.act(server, "os-stop")
    await cloud.quiet()
    assert (await cloud.attach(server, volume)).status_code == 200
    assert cloud.disks(server) == {}
    await cloud.act(server, "os-start")
    await cloud.quiet()
    assert cloud.disks(server) == {volume: "/dev/vdb"}


async def test_detaching_gives_the_volume_back(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    cloud.effects.restart()
    reply = await cloud.detach(server, volume)
    assert (reply.status_code, reply.content) == (202, b"")
    await cloud.quiet()
    assert cloud.effects.done == [
        "POST /v3/volumes/*/action",
        f"detach {volume}",
        "DELETE /v3/attachments/*",
    ]
    assert await cloud.house.status(volume) == "available"
    assert cloud.disks(server) == {}
    assert await cloud.attachments(server) == []
    assert cloud.house.driver.exports == set()


async def test_a_guest_that_keeps_its_disk_keeps_its_volume(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    cloud.hypervisor.fail("detach", HostError("busy", temporary=True), times=5)
    await cloud.detach(server, volume)
    await cloud.quiet()
    assert await cloud.house.status(volume) == "in-use"
    assert cloud.disks(server) == {volume: "/dev/vdb"}
    await cloud.detach(server, volume)
    await cloud.quiet()
    assert await cloud.house.status(volume) == "available"


async def test_a_volume_that_is_gone_can_be_detached(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    [made] = await cloud.storage_attachments(volume)
    reply = await cloud.house.client.delete(
        f"/v3/attachments/{made['id']}",
        headers={
            "X-Auth-Token": cloud.member.token,
            "X-Service-Token": "x",
            "OpenStack-API-Version": "volume 3.44",
        },
    )
    assert reply.status_code == 200, reply.text
    assert (await cloud.detach(server, volume)).status_code == 202
    await cloud.quiet()
    assert (await cloud.attachments(server), cloud.disks(server)) == ([], {})


async def test_what_was_taken_away_is_let_go_of_without_touching_its_new_user(
    cloud: ComputeCloud,
) -> None:
    first, second = await cloud.server(), await cloud.server()
    volume = await cloud.house.volume()
    await cloud.attach(first, volume)
    reply = await cloud.house.act(volume, "os-force_detach", {}, caller=cloud.house.admin)
    assert reply.status_code == 202, reply.text
    await cloud.attach(second, volume)
    cloud.effects.restart()
    assert (await cloud.detach(first, volume)).status_code == 202
    await cloud.quiet()
    assert "POST /v3/volumes/*/action" not in cloud.effects.done
    assert await cloud.house.status(volume) == "in-use"
    assert (cloud.disks(first), cloud.disks(second)) == ({}, {volume: "/dev/vdb"})


@pytest.mark.parametrize("device", ["/dev/sda", "vda", "/dev/vda", "nonsense"])
async def test_a_device_name_that_no_guest_has_is_400(cloud: ComputeCloud, device: str) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    assert (await cloud.attach(server, volume, device=device)).status_code == 400
    assert await cloud.attachments(server) == []


async def test_a_device_name_that_is_taken_is_409(cloud: ComputeCloud) -> None:
    server, one, two = (
        await cloud.server(),
        await cloud.house.volume(),
        await cloud.house.volume(),
    )
    await cloud.attach(server, one, device="/dev/vdc")
    assert (await cloud.attach(server, two, device="/dev/vdc")).status_code == 409
    assert await cloud.house.status(two) == "available"


async def test_more_disks_than_a_guest_has_slots_are_403(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.app.store.write(lambda tx: _fill_up(tx, server))
    assert (await cloud.attach(server, volume)).status_code == 403
    assert await cloud.house.status(volume) == "available"


def _fill_up(tx: WriteTx, server: str) -> None:
    for letter in "bcdefghijklmnopqrstuvwxyz":
        row = ServerVolume(
            id=new_id(),
            server_id=server,
            volume_id=new_id(),
            device=f"/dev/vd{letter}",
            state="attached",
            created_at=tx.now,
        )
        assert servers.insert_volume(tx, row)


async def test_an_unknown_volume_or_server_is_404(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    assert (await cloud.attach(server, NOWHERE)).status_code == 404
    assert (await cloud.attach(NOWHERE, volume)).status_code == 404
    assert (await cloud.detach(server, volume)).status_code == 404


async def test_another_projects_server_and_volume_are_404(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    foreign = await cloud.house.volume(caller=cloud.house.other)
    body = {"volumeAttachment": {"volumeId": volume}}
    path = f"/servers/{server}/os-volume_attachments"
    assert (await cloud.other.call("POST", path, body)).status_code == 404
    assert (await cloud.attach(server, foreign)).status_code == 404


async def test_a_reader_may_look_and_not_touch(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    path = f"/servers/{server}/os-volume_attachments"
    assert (await cloud.reader.call("GET", path)).status_code == 200
    assert (await cloud.reader.call("DELETE", f"{path}/{volume}")).status_code == 403
    body = {"volumeAttachment": {"volumeId": volume}}
    assert (await cloud.reader.call("POST", path, body)).status_code == 403


async def test_a_volume_that_is_attached_cannot_be_attached_again(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    second = await cloud.server(name="two")
    await cloud.attach(server, volume)
    assert (await cloud.attach(server, volume)).status_code == 400
    assert (await cloud.attach(second, volume)).status_code == 400
    assert len(await cloud.storage_attachments(volume)) == 1


async def test_a_shared_volume_serves_two_servers_from_2_60_on(cloud: ComputeCloud) -> None:
    kind = await cloud.house.multiattach_type()
    volume = await cloud.house.volume(volume_type=kind)
    one, two = await cloud.server(), await cloud.server(name="two")
    assert (await cloud.attach(one, volume, "2.59")).status_code == 400
    assert (await cloud.attach(one, volume, "2.60")).status_code == 200
    assert (await cloud.attach(two, volume, "2.60")).status_code == 200
    await cloud.detach(one, volume)
    await cloud.quiet()
    assert await cloud.house.status(volume) == "in-use"
    assert (cloud.disks(one), cloud.disks(two)) == ({}, {volume: "/dev/vdb"})
    assert cloud.house.driver.exports == {(volume, HOST)}
    await cloud.detach(two, volume)
    await cloud.quiet()
    assert cloud.house.driver.exports == set()


async def test_a_server_that_is_being_built_takes_no_volume(still: ComputeCloud) -> None:
    server, volume = await still.create(), await still.house.volume()
    assert (await still.attach(server, volume)).status_code == 409
    await still.drive()


async def test_the_root_volume_cannot_be_detached(cloud: ComputeCloud) -> None:
    root = await cloud.house.volume()
    server = await cloud.server(block_device_mapping_v2=[boot_from(root)])
    assert (await cloud.detach(server, root)).status_code == 400
    assert cloud.disks(server) == {root: "/dev/vda"}


def boot_from(volume: str) -> dict[str, object]:
    """The mapping that the openstack client sends for --volume."""
    device = {"source_type": "volume", "destination_type": "volume", "boot_index": 0}
    return {**device, "uuid": volume}


async def test_detaching_twice_is_400(still: ComputeCloud) -> None:
    server, volume = await still.create(), await still.house.volume()
    await still.drive()
    await still.attach(server, volume, "2.101")
    await still.drive()
    assert (await still.detach(server, volume)).status_code == 202
    assert (await still.detach(server, volume)).status_code == 400
    await still.drive()
    assert await still.house.status(volume) == "available"


@pytest.mark.parametrize("version", ["2.1", "2.85"])
async def test_volumes_are_not_exchanged_outside_a_migration(
    cloud: ComputeCloud, version: str
) -> None:
    server, one, two = (
        await cloud.server(),
        await cloud.house.volume(),
        await cloud.house.volume(),
    )
    await cloud.attach(server, one)
    path = f"/servers/{server}/os-volume_attachments/{one}"
    body = {"volumeAttachment": {"volumeId": two}}
    assert (await cloud.admin.call("PUT", path, body, version)).status_code == 409
    assert (await cloud.member.call("PUT", path, body, version)).status_code == 403


async def test_only_the_fate_of_an_attachment_can_be_changed(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    path = f"/servers/{server}/os-volume_attachments/{volume}"
    same = {"volumeId": volume, "serverId": server, "device": "/dev/vdb", "tag": None}
    body = {"volumeAttachment": {**same, "delete_on_termination": True}}
    assert (await cloud.member.call("PUT", path, body, "2.85")).status_code == 202
    assert (await cloud.attachments(server))[0]["delete_on_termination"] is True
    for changed in ({"device": "/dev/vdx"}, {"tag": "new"}, {"serverId": NOWHERE}):
        body = {"volumeAttachment": {"volumeId": volume, **changed}}
        assert (await cloud.member.call("PUT", path, body, "2.85")).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"volumeAttachment": {}},
        {"volumeAttachment": {"volumeId": "nonsense"}},
        {"volumeAttachment": {"volumeId": NOWHERE, "device": 5}},
        {"volumeAttachment": {"volumeId": NOWHERE, "unknown": 1}},
    ],
)
async def test_bad_bodies_are_400(cloud: ComputeCloud, body: object) -> None:
    server = await cloud.server()
    path = f"/servers/{server}/os-volume_attachments"
    assert (await cloud.member.call("POST", path, body)).status_code == 400


async def test_fields_of_later_versions_are_unknown_before(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    assert (await cloud.attach(server, volume, "2.48", tag="x")).status_code == 400
    reply = await cloud.attach(server, volume, "2.78", delete_on_termination=True)
    assert reply.status_code == 400


async def test_the_list_has_pages(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    for _ in range(3):
        await cloud.attach(server, await cloud.house.volume())
    path = f"/servers/{server}/os-volume_attachments"
    reply = await cloud.member.call("GET", f"{path}?limit=1&offset=1", version="2.75")
    assert [one["device"] for one in reply.json()["volumeAttachments"]] == ["/dev/vdc"]
    assert (await cloud.member.call("GET", f"{path}?other=1", version="2.75")).status_code == 400
    assert (await cloud.member.call("GET", f"{path}?other=1", version="2.74")).status_code == 200


async def test_what_a_backend_refuses_is_told(cloud: ComputeCloud, tmp_path: Path) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    cloud.house.driver.failures["export"] = PermanentError("no daemon", remedy="install one")
    reply = await cloud.attach(server, volume)
    assert reply.status_code == 500
    assert "no daemon" in reply.text
    assert "install one" in reply.text
    await cloud.quiet()
    assert await cloud.house.status(volume) == "available"
    assert await cloud.attachments(server) == []
