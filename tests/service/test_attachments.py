"""Attachments over HTTP: reserve, connect, complete, leave."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError
from breezeblock.model.errors import UnderWay
from breezeblock.store.store import WriteTx
from tests.service.house import House
from tests.service.sweeps import sweep

SERVER = "11111111-1111-1111-1111-111111111111"
SERVER2 = "21111111-1111-1111-1111-111111111111"


async def _connect(house: House, attachment: str, connector: Any) -> Any:
    return await house.member.put(
        f"/attachments/{attachment}", {"attachment": {"connector": connector}}
    )


async def test_the_three_steps_lead_to_a_volume_in_use(house: House) -> None:
    volume = await house.volume()
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": SERVER, "connector": None}}
    reserved = (await house.member.post("/attachments", body)).json()["attachment"]
    assert reserved | {"id": ""} == {
        "id": "",
        "status": "reserved",
        "instance": SERVER,
        "volume_id": volume,
        "attached_at": "",
        "detached_at": "",
        "attach_mode": "null",
        "connection_info": {},
    }
    assert await house.status(volume) == "reserved"

    connector = {"host": "compute1", "mountpoint": "/dev/vdb", "enforce_multipath": True}
    reply = await _connect(house, reserved["id"], connector)
    assert reply.status_code == 200
    connected = reply.json()["attachment"]
    assert (connected["status"], connected["attach_mode"]) == ("attaching", "rw")
    assert connected["connection_info"] == {
        "driver_volume_type": "fake",
        "address": f"{volume}@compute1",
        "volume_id": volume,
        "mount_point_base": "/mnt",
        "access_mode": "rw",
        "encrypted": False,
        "qos_specs": None,
        "cacheable": False,
        "attachment_id": reserved["id"],
        "enforce_multipath": True,
    }
    assert house.driver.exports == {(volume, "compute1")}
    assert await house.status(volume) == "attaching"

    at = f"/attachments/{reserved['id']}/action"
    done = await house.member.post(at, {"os-complete": None})
    assert (done.status_code, done.content) == (204, b"")
    shown = await house.show(volume, house.admin)
    (use,) = shown["attachments"]
    assert shown["status"] == "in-use"
    assert use == {
        "id": volume,
        "attachment_id": reserved["id"],
        "volume_id": volume,
        "server_id": SERVER,
        "host_name": "compute1",
        "device": "/dev/vdb",
        "attached_at": use["attached_at"],
    }
    assert use["attached_at"]
    assert (await house.show(volume))["attachments"][0]["host_name"] is None


async def test_a_connector_at_once_connects_at_once(house: House) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume, "compute1")
    shown = (await house.member.get(f"/attachments/{ident}")).json()["attachment"]
    assert (shown["status"], shown["connection_info"]["driver_volume_type"]) == (
        "attaching",
        "fake",
    )
    assert await house.status(volume) == "attaching"


async def test_deleting_shuts_the_host_out_and_lists_the_rest(house: House) -> None:
    volume = await house.volume()
    ident = await house.in_use(volume)
    reply = await house.member.delete(f"/attachments/{ident}")
    assert (reply.status_code, reply.json()) == (200, {"attachments": []})
    assert house.driver.exports == set()
    assert await house.status(volume) == "available"
    assert (await house.member.get(f"/attachments/{ident}")).status_code == 404


async def test_deleting_a_mere_reservation_asks_no_backend(house: House) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume)
    await house.member.delete(f"/attachments/{ident}")
    assert await house.status(volume) == "available"
    assert ("unexport", volume) not in house.driver.calls


async def test_connecting_again_gives_the_same_answer(house: House) -> None:
    ident = await house.attachment(await house.volume())
    first = await _connect(house, ident, {"host": "compute1"})
    again = await _connect(house, ident, {"host": "compute1"})
    assert again.json() == first.json()


async def test_a_guest_that_has_the_volume_keeps_it_when_its_host_is_connected_late(
    house: House,
) -> None:
    volume = await house.volume()
    ident = await house.in_use(volume, "compute1")
    reply = await _connect(house, ident, {"host": "compute1", "mountpoint": "/dev/vdb"})
    assert (reply.status_code, reply.json()["attachment"]["status"]) == (200, "attached")
    assert await house.status(volume) == "in-use"


async def test_an_attachment_belongs_to_one_host(house: House) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume, "compute1")
    assert (await _connect(house, ident, {"host": "compute2"})).status_code == 409
    assert house.driver.exports == {(volume, "compute1")}


@pytest.mark.parametrize(
    "connector",
    [
        {},
        {"ip": "127.0.0.1"},
        {"host": ""},
        {"host": 5},
        {"host": "x" * 256},
        {"host": "h", "mode": "wr"},
        {"host": "h", "mountpoint": 5},
        {"host": "h", "mountpoint": "x" * 256},
        {"host": "h", "ip": "y" * 100_000},
        {"host": "h", "ip": 2130706433},
        {"host": "h", "ip": ["127.0.0.1"]},
        {"host": "h", "initiator": "x" * 256},
        {"host": "h", "nqn": "x" * 256},
        {"host": "h", "wwpns": ["5001", "x" * 256]},
        {"host": "h", "wwpns": ["5001"] * 5000},
        {"host": "h", "x" * 100_000: True},
        {"host": "h", "deep": {"er": "x" * 100_000}},
        "compute1",
        None,
    ],
)
async def test_a_connector_must_name_its_host_and_be_of_sense(house: House, connector: Any) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume)
    reply = await _connect(house, ident, connector)
    assert (reply.status_code, len(reply.text) < 300) == (400, True)
    if isinstance(connector, dict):
        reply = await house.act(volume, "os-initialize_connection", {"connector": connector})
        assert (reply.status_code, len(reply.text) < 300) == (400, True)


@pytest.mark.parametrize("ip", [None, "", "10.0.0.2", "fd00::17", "fe80::1%eth0", "a.host.name"])
async def test_a_connector_as_hosts_send_it_is_taken(house: House, ip: str | None) -> None:
    ident = await house.attachment(await house.volume())
    connector = {
        "host": "compute1",
        "ip": ip,
        "platform": "x86_64",
        "multipath": False,
        "initiator": "iqn.1994-05.com.redhat:" + "x" * 200,
        "wwpns": ["50014380186b3f64"] * 64,
        "system uuid": None,
    }
    assert (await _connect(house, ident, connector)).status_code == 200


async def test_a_failing_backend_leaves_the_reservation_and_tells_why(house: House) -> None:
    volume = await house.volume()
    house.driver.failures["export"] = PermanentError("no tool", remedy="Install qemu-utils.")
    body = {"attachment": {"volume_uuid": volume, "connector": {"host": "compute1"}}}
    reply = await house.member.post("/attachments", body)
    assert reply.status_code == 500
    message = reply.json()["computeFault"]["message"]
    assert "no tool" in message
    assert "Install qemu-utils." in message
    (left,) = (await house.member.get("/attachments/detail")).json()["attachments"]
    assert (left["status"], left["connection_info"]) == ("reserved", {})
    assert await house.status(volume) == "reserved"

    house.driver.failures.clear()
    assert (await house.member.delete(f"/attachments/{left['id']}")).status_code == 200
    # The host may have been let in before the backend failed.
    assert ("unexport", volume) in house.driver.calls
    assert await house.status(volume) == "available"


async def test_another_host_can_be_tried_when_the_backend_has_refused_one(house: House) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume, server=SERVER)
    house.driver.failures["export"] = PermanentError("not this host")
    assert (await _connect(house, ident, {"host": "other", "ip": "10.0.0.2"})).status_code == 500
    shown = (await house.member.get(f"/attachments/{ident}")).json()["attachment"]
    assert (shown["status"], shown["connection_info"]) == ("reserved", {})

    house.driver.failures.clear()
    house.driver.exports.add((volume, "other"))  # it had been let in before the backend failed
    reply = await _connect(house, ident, {"host": "vm", "ip": "127.0.0.1"})
    assert reply.status_code == 200, reply.text
    assert reply.json()["attachment"]["status"] == "attaching"
    await house.quiet()
    assert house.driver.exports == {(volume, "vm")}

    house.driver.exports.add((volume, "other"))  # the refused call comes to its end very late
    await sweep(house)
    await house.quiet()
    assert house.driver.exports == {(volume, "vm")}
    assert (await _connect(house, ident, {"host": "other"})).status_code == 409


async def test_an_attachment_is_connected_to_one_host_at_a_time(house: House) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume)
    house.driver.gates["export"] = threading.Event()
    connecting = asyncio.ensure_future(_connect(house, ident, {"host": "compute1"}))
    while ("export", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    assert (await _connect(house, ident, {"host": "compute2"})).status_code == 409
    house.driver.gates["export"].set()
    assert (await connecting).status_code == 200
    assert house.driver.exports == {(volume, "compute1")}


async def test_a_failed_detach_keeps_the_volume_in_use(house: House) -> None:
    volume = await house.volume()
    ident = await house.in_use(volume)
    house.driver.failures["unexport"] = PermanentError("stuck")
    assert (await house.member.delete(f"/attachments/{ident}")).status_code == 500
    shown = (await house.member.get(f"/attachments/{ident}")).json()["attachment"]
    assert shown["status"] == "error_detaching"
    assert await house.status(volume) == "in-use"
    house.driver.failures.clear()
    assert (await house.member.delete(f"/attachments/{ident}")).status_code == 200
    assert await house.status(volume) == "available"


async def test_deleting_while_the_host_is_being_let_in_waits_its_turn(house: House) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume)
    house.driver.gates["export"] = threading.Event()
    connecting = asyncio.ensure_future(_connect(house, ident, {"host": "compute1"}))
    while ("export", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    deleting = asyncio.ensure_future(house.member.delete(f"/attachments/{ident}"))
    await asyncio.sleep(0.05)
    house.driver.gates["export"].set()
    await connecting
    assert (await deleting).status_code == 200
    assert house.driver.exports == set()
    assert await house.status(volume) == "available"


async def test_a_second_server_is_refused_unless_the_type_is_multiattach(house: House) -> None:
    volume = await house.volume()
    await house.in_use(volume, "compute1", SERVER)
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": SERVER2}}
    reply = await house.member.post("/attachments", body)
    assert reply.status_code == 400
    assert "does not allow several" in reply.json()["badRequest"]["message"]


async def test_a_shared_volume_is_in_use_until_its_last_server_leaves(house: House) -> None:
    volume = await house.volume(volume_type=await house.multiattach_type())
    first = await house.in_use(volume, "compute1", SERVER)
    second = await house.attachment(volume, server=SERVER2)
    assert await house.status(volume) == "reserved"
    await _connect(house, second, {"host": "compute2"})
    assert await house.status(volume) == "attaching"
    await house.member.post(f"/attachments/{second}/action", {"os-complete": {}})
    assert await house.status(volume) == "in-use"
    reply = await house.member.delete(f"/attachments/{first}")
    assert [one["id"] for one in reply.json()["attachments"]] == [second]
    assert await house.status(volume) == "in-use"
    await house.member.delete(f"/attachments/{second}")
    assert await house.status(volume) == "available"
    assert house.driver.exports == set()


async def test_two_servers_on_one_host_share_its_export(house: House) -> None:
    volume = await house.volume(volume_type=await house.multiattach_type())
    first = await house.in_use(volume, "compute1", SERVER)
    second = await house.in_use(volume, "compute1", SERVER2)
    await house.member.delete(f"/attachments/{first}")
    assert house.driver.exports == {(volume, "compute1")}
    await house.member.delete(f"/attachments/{second}")
    assert house.driver.exports == set()


async def test_a_live_migration_has_two_attachments_for_a_while(house: House) -> None:
    volume = await house.volume()
    old = await house.in_use(volume, "compute1", SERVER)
    new = await house.attachment(volume, "compute2", SERVER)
    assert await house.status(volume) == "attaching"
    await house.member.post(f"/attachments/{new}/action", {"os-complete": None})
    assert await house.status(volume) == "in-use"
    await house.member.delete(f"/attachments/{old}")
    assert await house.status(volume) == "in-use"
    assert house.driver.exports == {(volume, "compute2")}
    await house.member.delete(f"/attachments/{new}")
    assert await house.status(volume) == "available"


async def test_nova_announces_a_detach_and_deletes_the_attachment(house: House) -> None:
    volume = await house.volume()
    ident = await house.in_use(volume)
    assert (await house.act(volume, "os-begin_detaching")).status_code == 202
    assert await house.status(volume) == "detaching"
    assert (await house.member.delete(f"/attachments/{ident}")).status_code == 200
    assert await house.status(volume) == "available"
    # The hold that the announcement opened is gone, too.
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 202


@pytest.mark.parametrize(
    ("readonly", "asked", "mode"),
    [(False, None, "rw"), (False, "ro", "ro"), (True, None, "ro"), (True, "rw", None)],
)
async def test_the_mode_is_asked_for_or_follows_the_flag(
    house: House, readonly: bool, asked: str | None, mode: str | None
) -> None:
    volume = await house.volume()
    await house.act(volume, "os-update_readonly_flag", {"readonly": readonly})
    wish: dict[str, Any] = {"volume_uuid": volume, "connector": {"host": "compute1"}}
    wish |= {"mode": asked} if asked else {}
    reply = await house.member.post("/attachments", {"attachment": wish}, "3.54")
    if mode is None:
        assert reply.status_code == 400
        assert await house.status(volume) == "available"
    else:
        made = reply.json()["attachment"]
        assert (made["attach_mode"], made["connection_info"]["access_mode"]) == (mode, mode)


async def test_lists_show_little_details_show_all(house: House) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume, server=SERVER)
    (plain,) = (await house.member.get("/attachments")).json()["attachments"]
    assert plain == {"id": ident, "status": "reserved", "instance": SERVER, "volume_id": volume}
    (detailed,) = (await house.member.get("/attachments/detail")).json()["attachments"]
    assert detailed == (await house.member.get(f"/attachments/{ident}")).json()["attachment"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"instance_id={SERVER}", 1),
        (f"instance_id={SERVER2}", 0),
        ("attach_status=reserved", 1),
        ("status=reserved", 0),
        ("limit=0", 0),
    ],
)
async def test_lists_are_filtered(house: House, query: str, count: int) -> None:
    await house.attachment(await house.volume(), server=SERVER)
    listed = (await house.member.get(f"/attachments?{query}")).json()
    assert len(listed["attachments"]) == count
    assert list(listed) == ["attachments"]


async def test_other_projects_see_nothing_and_readers_change_nothing(house: House) -> None:
    volume = await house.volume()
    ident = await house.attachment(volume)
    assert (await house.other.get("/attachments")).json() == {"attachments": []}
    for method in ("GET", "DELETE"):
        assert (await house.other.call(method, f"/attachments/{ident}")).status_code == 404
    body = {"attachment": {"volume_uuid": volume}}
    assert (await house.other.post("/attachments", body)).status_code == 404
    assert (await house.reader.post("/attachments", body)).status_code == 403
    assert (await house.reader.delete(f"/attachments/{ident}")).status_code == 403
    assert (await house.reader.get(f"/attachments/{ident}")).status_code == 200


async def test_deleting_a_volume_that_is_connected_is_refused(house: House) -> None:
    volume = await house.volume()
    await house.attachment(volume, "compute1")
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 400


async def test_work_that_ends_just_when_it_is_found_under_way_refuses_nobody(house: House) -> None:
    tries = []

    def attach(_tx: WriteTx) -> str:
        tries.append("once")
        if len(tries) == 1:
            raise UnderWay("Another operation on export v@compute1 is under way.")
        return "attached"

    assert await house.app.write_in_turn("v@compute1", attach) == "attached"
