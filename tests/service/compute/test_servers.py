"""Servers over HTTP: create, look, rename, start, stop, restart, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from breezeblock.compute.hypervisor import GuestState
from tests.service.catalog_fixture import OTHER, PROJECT
from tests.service.compute.cloud import HOST, KERNEL, ComputeCloud, open_compute
from tests.service.house import House

NOWHERE = "00000000-0000-4000-8000-000000000000"


def volume_device(volume: str, **more: Any) -> dict[str, Any]:
    device = {"source_type": "volume", "destination_type": "volume", "uuid": volume}
    return {**device, **more}


async def test_a_created_server_runs_the_configured_kernel(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    shown = await cloud.show(server)
    assert (shown["status"], shown["OS-EXT-STS:vm_state"]) == ("ACTIVE", "active")
    assert (shown["OS-EXT-STS:power_state"], shown["OS-EXT-STS:task_state"]) == (1, None)
    assert shown["image"]["id"] == "demo"
    assert shown["OS-SRV-USG:launched_at"]
    spec = cloud.hypervisor.specs[server]
    assert (str(spec.kernel), spec.memory_mib, spec.vcpus) == (KERNEL, 256, 1)


async def test_the_answer_to_a_creation(cloud: ComputeCloud) -> None:
    body = {"server": {"name": "one", "flavorRef": "tiny", "networks": "auto"}}
    reply = await cloud.member.call("POST", "/servers", body)
    made = reply.json()["server"]
    assert reply.status_code == 202
    assert set(made) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    assert reply.headers["location"] == f"http://compute/v2.1/servers/{made['id']}"
    assert reply.headers["openstack-api-version"] == "compute 2.90"
    assert reply.headers["x-openstack-nova-api-version"] == "2.90"
    await cloud.quiet()


async def test_a_server_boots_from_a_volume(cloud: ComputeCloud) -> None:
    root, data = await cloud.house.volume(2), await cloud.house.volume()
    server = await cloud.server(
        imageRef="",
        block_device_mapping_v2=[volume_device(data), volume_device(root, boot_index=0)],
    )
    assert cloud.disks(server) == {root: "/dev/vda", data: "/dev/vdb"}
    spec = cloud.hypervisor.specs[server]
    assert (spec.kernel, [disk.volume_id for disk in spec.disks if disk.boot]) == (None, [root])
    assert {disk.volume_id: disk.size_bytes for disk in spec.disks} == {
        root: 2 << 30,
        data: 1 << 30,
    }
    shown = await cloud.show(server)
    assert shown["image"] == ""
    assert shown["os-extended-volumes:volumes_attached"] == [
        {"id": root, "delete_on_termination": False},
        {"id": data, "delete_on_termination": False},
    ]
    assert [await cloud.house.status(one) for one in (root, data)] == ["in-use", "in-use"]


async def test_a_server_boots_from_a_volume_made_of_a_snapshot(cloud: ComputeCloud) -> None:
    snapshot = await cloud.house.snapshot(await cloud.house.volume())
    device = {"source_type": "snapshot", "destination_type": "volume", "boot_index": 0}
    server = await cloud.server(
        block_device_mapping_v2=[{**device, "uuid": snapshot, "delete_on_termination": True}]
    )
    [(made, name)] = cloud.disks(server).items()
    assert (name, cloud.house.driver.origins[made]) == ("/dev/vda", snapshot)
    await cloud.member.call("DELETE", f"/servers/{server}")
    await cloud.quiet()
    assert await cloud.house.status(made) == "gone"


async def test_a_deleted_server_takes_along_what_was_to_go(cloud: ComputeCloud) -> None:
    goes, stays = await cloud.house.volume(), await cloud.house.volume()
    devices = [volume_device(goes, delete_on_termination=True), volume_device(stays)]
    server = await cloud.server(block_device_mapping_v2=devices)
    reply = await cloud.member.call("DELETE", f"/servers/{server}")
    assert (reply.status_code, reply.content) == (204, b"")
    await cloud.quiet()
    assert (await cloud.member.call("GET", f"/servers/{server}")).status_code == 404
    assert [await cloud.house.status(one) for one in (goes, stays)] == ["gone", "available"]
    assert (cloud.hypervisor.guests, cloud.house.driver.exports) == ({}, set())


async def test_a_server_can_be_deleted_while_it_is_built(still: ComputeCloud) -> None:
    root = await still.house.volume()
    server = await still.create(block_device_mapping_v2=[volume_device(root, boot_index=0)])
    for _ in range(2):
        assert (await still.member.call("DELETE", f"/servers/{server}")).status_code == 204
    assert (await still.show(server))["OS-EXT-STS:task_state"] == "deleting"
    await still.drive()
    assert (await still.member.call("GET", f"/servers/{server}")).status_code == 404
    assert (still.hypervisor.guests, await still.house.status(root)) == ({}, "available")


async def test_a_server_can_be_deleted_while_a_volume_comes_and_another_goes(
    still: ComputeCloud,
) -> None:
    server = await still.create()
    await still.drive()
    comes, goes = await still.house.volume(), await still.house.volume()
    await still.attach(server, goes, "2.101")
    await still.drive()
    await still.attach(server, comes, "2.101")
    await still.detach(server, goes)
    await still.member.call("DELETE", f"/servers/{server}")
    await still.drive()
    assert (await still.member.call("GET", f"/servers/{server}")).status_code == 404
    assert [await still.house.status(one) for one in (comes, goes)] == ["available", "available"]


async def test_stop_and_start(cloud: ComputeCloud) -> None:
    volume, server = await cloud.house.volume(), await cloud.server()
    await cloud.attach(server, volume)
    assert (await cloud.act(server, "os-stop")).status_code == 202
    await cloud.quiet()
    shown = await cloud.show(server)
    assert (shown["status"], shown["OS-EXT-STS:vm_state"]) == ("SHUTOFF", "stopped")
    assert shown["OS-EXT-STS:power_state"] == 4
    assert await cloud.house.status(volume) == "in-use"
    assert (await cloud.act(server, "os-stop")).status_code == 409
    assert (await cloud.act(server, "os-start")).status_code == 202
    await cloud.quiet()
    assert (await cloud.show(server))["status"] == "ACTIVE"
    assert cloud.disks(server) == {volume: "/dev/vdb"}
    assert (await cloud.act(server, "os-start")).status_code == 409


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
async def test_restart(cloud: ComputeCloud, kind: str) -> None:
    server = await cloud.server()
    cloud.effects.restart()
    assert (await cloud.act(server, "reboot", {"type": kind})).status_code == 202
    await cloud.quiet()
    assert cloud.effects.done == [f"stop {server}", f"start {server}"]
    assert (await cloud.show(server))["status"] == "ACTIVE"


async def test_a_passing_state_is_shown_and_shuts_out_other_work(still: ComputeCloud) -> None:
    server = await still.create()
    assert (await still.show(server))["status"] == "BUILD"
    assert (await still.act(server, "os-stop")).status_code == 409
    await still.drive()
    await still.act(server, "reboot", {"type": "SOFT"})
    shown = await still.show(server)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("REBOOT", "rebooting")
    assert (await still.act(server, "os-stop")).status_code == 409
    await still.drive()


async def test_a_server_that_never_ran_can_only_be_deleted(tmp_path: Path, house: House) -> None:
    async with open_compute(tmp_path, house, serves=False) as cloud:
        await cloud.agent.close()  # the host counts as down
        server = await cloud.create()
        shown = await cloud.show(server)
        assert (shown["status"], shown["fault"]["code"]) == ("ERROR", 500)
        assert "No valid host" in shown["fault"]["message"]
        assert (await cloud.act(server, "os-stop")).status_code == 409
        assert (await cloud.member.call("DELETE", f"/servers/{server}")).status_code == 204
        assert (await cloud.member.call("GET", f"/servers/{server}")).status_code == 404


async def test_several_at_once_have_numbers(cloud: ComputeCloud) -> None:
    await cloud.server(min_count=1, max_count=3)
    listed = (await cloud.member.call("GET", "/servers")).json()["servers"]
    assert {one["name"] for one in listed} == {"one-1", "one-2", "one-3"}


async def test_a_place_can_be_asked_for(cloud: ComputeCloud) -> None:
    server = await cloud.create(cloud.admin, availability_zone=f"nova:{HOST}")
    await cloud.quiet()
    shown = (await cloud.admin.call("GET", f"/servers/{server}")).json()["server"]
    assert shown["OS-EXT-SRV-ATTR:host"] == HOST
    elsewhere = await cloud.create(cloud.admin, availability_zone="nova:elsewhere")
    assert (await cloud.show(elsewhere))["status"] == "ERROR"
    body = {"server": {"name": "x", "flavorRef": "tiny", "availability_zone": f"nova:{HOST}"}}
    assert (await cloud.member.call("POST", "/servers", body)).status_code == 403
    body["server"]["availability_zone"] = "mars"
    assert (await cloud.member.call("POST", "/servers", body)).status_code == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"name": None},
        {"flavorRef": "huge"},
        {"imageRef": NOWHERE},
        {"networks": [{"uuid": NOWHERE}]},
        {"key_name": "mine"},
        {"user_data": "aGVsbG8="},
        {"min_count": 0},
        {"min_count": 3, "max_count": 2},
        {"max_count": 101},
        {"unknown": True},
        {"metadata": {"a": 1}},
        {"block_device_mapping_v2": [{"source_type": "volume", "uuid": NOWHERE}]},
        {"block_device_mapping_v2": [{"source_type": "volume"}]},
        {"block_device_mapping_v2": [{"source_type": "blank"}]},
        {"block_device_mapping_v2": [{"source_type": "image", "uuid": NOWHERE}]},
        {"block_device_mapping_v2": [{"source_type": "blank", "volume_size": 0}]},
        {
            "block_device_mapping_v2": [
                {"source_type": "blank", "volume_size": 1, "destination_type": "local"}
            ]
        },
    ],
)
async def test_bad_wishes_are_400_and_make_nothing(
    cloud: ComputeCloud, wrong: dict[str, Any]
) -> None:
    wanted = {"name": "one", "flavorRef": "tiny", "networks": "none", **wrong}
    reply = await cloud.member.call("POST", "/servers", {"server": wanted})
    assert reply.status_code == 400, reply.text
    assert (await cloud.member.call("GET", "/servers")).json() == {"servers": []}


async def test_one_volume_cannot_serve_twice(cloud: ComputeCloud) -> None:
    volume = await cloud.house.volume()
    device = volume_device(volume)
    for wish in (
        {"block_device_mapping_v2": [device, device]},
        {"block_device_mapping_v2": [device], "max_count": 2},
    ):
        wanted = {"name": "one", "flavorRef": "tiny", **wish}
        reply = await cloud.member.call("POST", "/servers", {"server": wanted})
        assert reply.status_code == 400
    await cloud.server(block_device_mapping_v2=[device])
    wanted = {"name": "two", "flavorRef": "tiny", "block_device_mapping_v2": [device]}
    assert (await cloud.member.call("POST", "/servers", {"server": wanted})).status_code == 400


async def test_without_a_kernel_a_server_needs_a_boot_volume(tmp_path: Path, house: House) -> None:
    async with open_compute(tmp_path, house, kernel="") as cloud:
        body = {"server": {"name": "one", "flavorRef": "tiny"}}
        reply = await cloud.member.call("POST", "/servers", body)
        assert (reply.status_code, "compute.kernel" in reply.text) == (400, True)
        root = await house.volume()
        devices = [volume_device(root, boot_index=0)]
        server = await cloud.server(block_device_mapping_v2=devices)
        assert (await cloud.show(server))["status"] == "ACTIVE"


async def test_the_mapping_that_clients_send_for_an_image_is_the_kernel(
    cloud: ComputeCloud,
) -> None:
    device = {"uuid": "demo", "boot_index": 0, "source_type": "image"}
    local = {**device, "destination_type": "local", "delete_on_termination": True}
    server = await cloud.server(imageRef="demo", block_device_mapping_v2=[local])
    assert str(cloud.hypervisor.specs[server].kernel) == KERNEL


async def test_servers_of_other_projects_are_not_there(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    for method, path, body in (
        ("GET", f"/servers/{server}", None),
        ("DELETE", f"/servers/{server}", None),
        ("PUT", f"/servers/{server}", {"server": {"name": "mine"}}),
        ("POST", f"/servers/{server}/action", {"os-stop": None}),
        ("GET", f"/servers/{server}/os-volume_attachments", None),
    ):
        assert (await cloud.other.call(method, path, body)).status_code == 404, (method, path)
    assert (await cloud.other.call("GET", "/servers")).json() == {"servers": []}
    assert (await cloud.admin.call("GET", f"/servers/{server}")).status_code == 200


async def test_all_projects_are_for_administrators(cloud: ComputeCloud) -> None:
    mine = await cloud.server()
    theirs = await cloud.create(cloud.other)
    await cloud.quiet()

    async def listed(path: str) -> set[str]:
        reply = await cloud.admin.call("GET", path)
        return {one["id"] for one in reply.json()["servers"]}

    assert await listed("/servers") == {mine}
    assert await listed("/servers?all_tenants=True") == {mine, theirs}
    assert await listed(f"/servers?all_tenants=1&project_id={OTHER}") == {theirs}
    assert await listed(f"/servers?all_tenants=0&project_id={OTHER}") == {mine}
    assert (await cloud.member.call("GET", "/servers?all_tenants=1")).status_code == 403


async def test_a_reader_may_not_change_anything(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    assert (await cloud.reader.call("GET", f"/servers/{server}")).status_code == 200
    assert (await cloud.reader.call("DELETE", f"/servers/{server}")).status_code == 403
    body = {"server": {"name": "one", "flavorRef": "tiny"}}
    assert (await cloud.reader.call("POST", "/servers", body)).status_code == 403
    reply = await cloud.reader.call("POST", f"/servers/{server}/action", {"os-stop": None})
    assert reply.status_code == 403


async def test_only_administrators_see_where_a_server_runs(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    assert "OS-EXT-SRV-ATTR:host" not in await cloud.show(server)
    seen = (await cloud.admin.call("GET", f"/servers/{server}")).json()["server"]
    assert seen["OS-EXT-SRV-ATTR:host"] == HOST
    assert seen["tenant_id"] == PROJECT


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("2.1", set(), {"locked", "description", "tags"}),
        ("2.9", {"locked"}, {"description"}),
        ("2.19", {"description"}, {"tags"}),
        ("2.26", {"tags"}, {"trusted_image_certificates"}),
        ("2.63", {"trusted_image_certificates"}, {"server_groups"}),
        ("2.73", {"server_groups", "locked_reason"}, {"pinned_availability_zone"}),
        ("2.96", {"pinned_availability_zone"}, {"scheduler_hints"}),
        ("2.104", {"scheduler_hints"}, set()),
    ],
)
async def test_fields_appear_with_their_versions(
    cloud: ComputeCloud, version: str, present: set[str], absent: set[str]
) -> None:
    shown = await cloud.show(await cloud.server(), version)
    assert present <= set(shown)
    assert not absent & set(shown)


async def test_the_flavor_is_a_reference_until_2_46(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    assert (await cloud.show(server, "2.46"))["flavor"]["id"] == "tiny"
    assert (await cloud.show(server, "2.47"))["flavor"] == {
        "vcpus": 1,
        "ram": 256,
        "disk": 0,
        "ephemeral": 0,
        "swap": 0,
        "original_name": "tiny",
        "extra_specs": {},
    }


async def test_times_are_in_the_wires_form(cloud: ComputeCloud) -> None:
    shown = await cloud.show(await cloud.server())
    assert shown["created"].endswith("Z")
    assert len(shown["created"]) == len("2026-01-01T00:00:00Z")
    assert not shown["OS-SRV-USG:launched_at"].endswith("Z")


async def test_lists_have_filters_order_and_pages(cloud: ComputeCloud) -> None:
    for name in ("a1", "a2", "b1"):
        await cloud.create(name=name)
    await cloud.quiet()

    async def names(query: str) -> list[str]:
        reply = await cloud.member.call("GET", f"/servers?{query}")
        assert reply.status_code == 200, reply.text
        return [one["name"] for one in reply.json()["servers"]]

    assert await names("name=a&sort_key=display_name&sort_dir=asc") == ["a1", "a2"]
    assert await names("sort_key=created_at&sort_dir=desc") == ["b1", "a2", "a1"]
    assert await names("status=ACTIVE&name=b1") == ["b1"]
    assert await names("status=error") == []
    assert await names("deleted=True") == []
    assert len(await names("deleted=False")) == 3

    first = (await cloud.member.call("GET", "/servers/detail?limit=2")).json()
    [link] = first["servers_links"]
    rest = (await cloud.client.get(link["href"], headers=headers(cloud))).json()
    assert [one["name"] for one in first["servers"] + rest["servers"]] == ["b1", "a2", "a1"]
    assert "servers_links" not in rest


def headers(cloud: ComputeCloud) -> dict[str, str]:
    return {"X-Auth-Token": cloud.member.token, "OpenStack-API-Version": "compute 2.90"}


@pytest.mark.parametrize(
    "query",
    ["marker=nowhere", "limit=-1", "limit=x", "sort_key=nonsense", "sort_dir=up", "unknown=1"],
)
async def test_bad_queries_are_400(cloud: ComputeCloud, query: str) -> None:
    assert (await cloud.member.call("GET", f"/servers?{query}")).status_code == 400


async def test_unknown_filters_were_ignored_before_2_75(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    reply = await cloud.member.call("GET", "/servers?unknown=1", version="2.74")
    assert [one["id"] for one in reply.json()["servers"]] == [server]


async def test_name_and_description_can_be_changed(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    body = {"server": {"name": "new", "description": "text"}}
    reply = await cloud.member.call("PUT", f"/servers/{server}", body)
    shown = reply.json()["server"]
    assert (reply.status_code, shown["name"], shown["description"]) == (200, "new", "text")
    for wrong in ({"name": ""}, {"status": "ACTIVE"}):
        reply = await cloud.member.call("PUT", f"/servers/{server}", {"server": wrong})
        assert reply.status_code == 400


@pytest.mark.parametrize(
    "body",
    [{}, {"nonsense": None}, {"os-start": None, "os-stop": None}, {"reboot": {"type": "odd"}}],
)
async def test_bad_actions_are_400(cloud: ComputeCloud, body: object) -> None:
    server = await cloud.server()
    reply = await cloud.member.call("POST", f"/servers/{server}/action", body)
    assert reply.status_code == 400


async def test_a_server_that_is_not_there_is_404(cloud: ComputeCloud) -> None:
    assert (await cloud.member.call("GET", f"/servers/{NOWHERE}")).status_code == 404
    assert (await cloud.member.call("GET", "/servers/by-name")).status_code == 404
    assert (await cloud.member.call("DELETE", f"/servers/{NOWHERE}")).status_code == 404


async def test_a_start_that_fails_shows_why(cloud: ComputeCloud) -> None:
    root = await cloud.house.volume()
    server = await cloud.server(block_device_mapping_v2=[volume_device(root, boot_index=0)])
    await cloud.act(server, "os-stop")
    await cloud.quiet()
    cloud.network.fail("GET", "/attachments/", 500)
    await cloud.act(server, "os-start")
    await cloud.quiet()
    shown = await cloud.show(server)
    assert (shown["status"], "made up" in shown["fault"]["message"]) == ("SHUTOFF", True)
    await cloud.act(server, "os-start")
    await cloud.quiet()
    shown = await cloud.show(server)
    assert (shown["status"], "fault" in shown) == ("ACTIVE", False)
    assert cloud.hypervisor.guests[server].state is GuestState.RUNNING
