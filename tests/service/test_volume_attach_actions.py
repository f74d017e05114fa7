"""Attaching by actions on the volume, the way before attachments."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError
from breezeblock.operations import sweep
from breezeblock.operations.engine import _Taken
from breezeblock.operations.workflow import Looking
from breezeblock.store import operations
from breezeblock.store.tables import operations as operation_rows
from tests.service.house import House

SERVER = "11111111-1111-1111-1111-111111111111"
CONNECTOR = {"connector": {"host": "compute1", "multipath": False}}
ATTACH = {"instance_uuid": SERVER, "mountpoint": "/dev/vdb", "mode": "rw"}


async def _attached(house: House, volume: str) -> None:
    await house.act(volume, "os-reserve")
    await house.act(volume, "os-initialize_connection", CONNECTOR)
    reply = await house.act(volume, "os-attach", ATTACH)
    assert reply.status_code == 202, reply.text


async def test_the_whole_way_there_and_back(house: House) -> None:
    volume = await house.volume()
    assert (await house.act(volume, "os-reserve")).status_code == 202
    assert await house.status(volume) == "attaching"

    reply = await house.act(volume, "os-initialize_connection", CONNECTOR)
    assert reply.status_code == 200
    assert reply.json()["connection_info"] == {
        "driver_volume_type": "fake",
        "data": {
            "address": f"{volume}@compute1",
            "volume_id": volume,
            "access_mode": "rw",
            "encrypted": False,
            "qos_specs": None,
            "cacheable": False,
            "enforce_multipath": False,
        },
        "mount_point_base": "/mnt",
        "enforce_multipath": False,
    }
    assert await house.status(volume) == "attaching"

    assert (await house.act(volume, "os-attach", ATTACH)).status_code == 202
    shown = await house.show(volume, house.admin)
    (use,) = shown["attachments"]
    assert (shown["status"], use["server_id"], use["device"]) == ("in-use", SERVER, "/dev/vdb")
    assert use["host_name"] == "compute1"
    assert shown["metadata"] == {"readonly": "False", "attached_mode": "rw"}

    assert (await house.act(volume, "os-begin_detaching")).status_code == 202
    assert (await house.act(volume, "os-terminate_connection", CONNECTOR)).status_code == 202
    assert await house.status(volume) == "detaching"
    assert house.driver.exports == set()

    assert (await house.act(volume, "os-detach", {})).status_code == 202
    shown = await house.show(volume)
    assert (shown["status"], shown["attachments"]) == ("available", [])
    assert "attached_mode" not in shown["metadata"]
    assert (await house.member.get("/attachments")).json() == {"attachments": []}


async def test_connecting_a_host_again_gives_the_same_answer_and_no_second_row(
    house: House,
) -> None:
    volume = await house.volume()
    first = await house.act(volume, "os-initialize_connection", CONNECTOR)
    again = await house.act(volume, "os-initialize_connection", CONNECTOR)
    assert again.json() == first.json()
    assert len((await house.member.get("/attachments")).json()["attachments"]) == 1
    assert await house.status(volume) == "available"


async def test_a_connection_that_was_not_used_is_taken_back(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    await house.act(volume, "os-initialize_connection", CONNECTOR)
    assert (await house.act(volume, "os-terminate_connection", CONNECTOR)).status_code == 202
    assert house.driver.exports == set()
    assert await house.status(volume) == "available"
    assert (await house.member.get("/attachments")).json() == {"attachments": []}


async def test_a_failed_connection_tells_why_and_leaves_nothing_behind(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    house.driver.failures["export"] = PermanentError("no tool")
    reply = await house.act(volume, "os-initialize_connection", CONNECTOR)
    assert reply.status_code == 500
    assert "no tool" in reply.json()["computeFault"]["message"]
    house.driver.failures.clear()
    await house.act(volume, "os-unreserve")
    assert await house.status(volume) == "available"
    await house.act(volume, "os-terminate_connection", CONNECTOR)
    assert (await house.member.get("/attachments")).json() == {"attachments": []}


async def test_no_connector_in_terminate_means_every_host(house: House) -> None:
    volume = await house.volume()
    await _attached(house, volume)
    other = {"connector": {"host": "compute2"}}
    assert (await house.act(volume, "os-initialize_connection", other)).status_code == 200
    assert len(house.driver.exports) == 2
    await house.act(volume, "os-terminate_connection", {"connector": None})
    assert house.driver.exports == set()
    assert await house.status(volume) == "in-use"


async def test_attaching_without_a_connection_makes_an_attachment(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    wish = {"host_name": "bare1", "mountpoint": "/dev/sdb"}
    assert (await house.act(volume, "os-attach", wish)).status_code == 202
    (use,) = (await house.show(volume, house.admin))["attachments"]
    assert (use["host_name"], use["server_id"]) == ("bare1", None)


async def test_detaching_what_is_still_connected_shuts_the_host_out(house: House) -> None:
    volume = await house.volume()
    await _attached(house, volume)
    assert (await house.act(volume, "os-detach", None)).status_code == 202
    assert house.driver.exports == set()
    assert await house.status(volume) == "available"


async def test_several_attachments_need_to_be_named(house: House) -> None:
    volume = await house.volume(volume_type=await house.multiattach_type())
    first = await house.in_use(volume, "compute1", SERVER)
    await house.in_use(volume, "compute2")
    assert (await house.act(volume, "os-detach", {})).status_code == 400
    named = {"attachment_id": first}
    assert (await house.act(volume, "os-detach", named)).status_code == 202
    assert await house.status(volume) == "in-use"


async def test_detaching_what_is_gone_is_accepted(house: House) -> None:
    """As Cinder does: the volume's status is what the attachments that are left say."""
    volume = await house.volume()
    await house.put(volume, status="detaching")
    gone = {"attachment_id": SERVER}
    assert (await house.act(volume, "os-detach", gone)).status_code == 202
    assert await house.status(volume) == "available"


async def test_an_administrator_detaches_by_force(house: House) -> None:
    volume = await house.volume()
    ident = await house.in_use(volume)
    reply = await house.act(volume, "os-force_detach", {"attachment_id": ident}, house.admin)
    assert reply.status_code == 202
    assert house.driver.exports == set()
    assert await house.status(volume) == "available"


async def test_a_detach_is_announced_and_rolled_back(house: House) -> None:
    volume = await house.volume()
    await _attached(house, volume)
    await house.act(volume, "os-begin_detaching")
    assert (await house.act(volume, "os-roll_detaching", {})).status_code == 202
    assert await house.status(volume) == "in-use"
    assert (await house.act(volume, "os-roll_detaching", {})).status_code == 202
    assert await house.status(volume) == "in-use"


async def test_a_reservation_is_given_back(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    assert (await house.act(volume, "os-reserve")).status_code == 400
    assert (await house.act(volume, "os-unreserve")).status_code == 202
    assert await house.status(volume) == "available"
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 202


async def test_giving_back_does_not_take_a_newer_attachment_away(house: House) -> None:
    volume = await house.volume()
    await house.attachment(volume, "compute1")
    await house.act(volume, "os-unreserve")
    assert await house.status(volume) == "attaching"


async def test_a_volume_that_nobody_reserved_is_noted_as_attached(house: House) -> None:
    volume = await house.volume()
    for _ in range(2):  # said twice it is one attachment
        assert (await house.act(volume, "os-attach", ATTACH)).status_code == 202
    shown = await house.show(volume)
    assert shown["status"] == "in-use"
    assert [use["server_id"] for use in shown["attachments"]] == [SERVER]
    other = {**ATTACH, "instance_uuid": "22222222-2222-2222-2222-222222222222"}
    assert (await house.act(volume, "os-attach", other)).status_code == 400
    on_host = {"mountpoint": "/dev/vdb", "host_name": "compute2"}
    assert (await house.act(volume, "os-attach", on_host)).status_code == 400
    assert house.driver.exports == set()

    assert (await house.act(volume, "os-detach", {})).status_code == 202
    shown = await house.show(volume)
    assert (shown["status"], shown["attachments"]) == ("available", [])


@pytest.mark.parametrize("status", ["error", "maintenance", "error_deleting"])
async def test_a_volume_that_is_not_well_is_not_attached(house: House, status: str) -> None:
    volume = await house.volume()
    reset = {"os-reset_status": {"status": status}}
    reply = await house.admin.post(f"/volumes/{volume}/action", reset)
    assert reply.status_code == 202
    assert (await house.act(volume, "os-attach", ATTACH)).status_code == 400
    assert await house.status(volume) == status


async def test_another_servers_volume_is_not_connected(house: House) -> None:
    volume = await house.volume()
    await house.in_use(volume, "compute2", SERVER)
    assert (await house.act(volume, "os-initialize_connection", CONNECTOR)).status_code == 409
    assert house.driver.exports == {(volume, "compute2")}


async def test_a_readonly_volume_is_attached_readonly(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-update_readonly_flag", {"readonly": True})
    await house.act(volume, "os-reserve")
    assert (await house.act(volume, "os-attach", ATTACH)).status_code == 400
    assert (await house.act(volume, "os-attach", {**ATTACH, "mode": "ro"})).status_code == 202
    assert (await house.show(volume))["metadata"] == {"readonly": "True", "attached_mode": "ro"}


async def test_deleting_a_connected_volume_strands_no_export(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-initialize_connection", CONNECTOR)
    assert (await house.member.delete(f"/volumes/{volume}")).status_code == 202
    await house.quiet()
    assert house.driver.exports == set()
    assert await house.status(volume) == "gone"


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("os-initialize_connection", {}),
        ("os-initialize_connection", {"connector": "compute1"}),
        ("os-initialize_connection", {"connector": {"ip": "::1"}}),
        ("os-terminate_connection", {}),
        ("os-terminate_connection", {"connector": {}}),
        ("os-attach", {"mountpoint": "/dev/vdb"}),
        ("os-attach", {**ATTACH, "mode": "wr"}),
        ("os-attach", {**ATTACH, "unknown": 1}),
        ("os-detach", {"attachment_id": "zz"}),
        ("os-begin_detaching", {}),
    ],
)
async def test_bad_requests_are_refused(house: House, action: str, value: Any) -> None:
    volume = await house.volume()
    assert (await house.act(volume, action, value)).status_code == 400
    assert await house.status(volume) == "available"


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("os-reserve", None),
        ("os-unreserve", None),
        ("os-begin_detaching", None),
        ("os-roll_detaching", None),
        ("os-initialize_connection", CONNECTOR),
        ("os-terminate_connection", CONNECTOR),
        ("os-attach", ATTACH),
        ("os-detach", None),
    ],
)
async def test_who_may_not_is_told_so_or_finds_nothing(
    house: House, action: str, value: Any
) -> None:
    volume = await house.volume()
    assert (await house.act(volume, action, value, house.reader)).status_code == 403
    assert (await house.act(volume, action, value, house.other)).status_code == 404
    assert await house.status(volume) == "available"


async def test_giving_a_reservation_back_shuts_the_hosts_out_again(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    await house.act(volume, "os-initialize_connection", CONNECTOR)
    assert house.driver.exports
    await house.act(volume, "os-unreserve")
    await house.quiet()
    assert house.driver.exports == set()
    assert await house.status(volume) == "available"
    listed = await house.member.get(f"/attachments?volume_id={volume}")
    assert listed.json()["attachments"] == []
    await house.in_use(volume, host="another")


# -- clients that do not come back, work that fails or comes late ----------------------------------


async def test_a_reservation_that_is_forgotten_ends_with_its_attachment_and_export(
    house: House,
) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    await house.act(volume, "os-initialize_connection", CONNECTOR)
    await house.come_due("hold_volume")
    assert await house.status(volume) == "available"
    assert house.driver.exports == set()
    assert (await house.member.get("/attachments")).json() == {"attachments": []}


async def test_a_detach_that_is_announced_and_forgotten_leaves_the_volume_in_use(
    house: House,
) -> None:
    volume = await house.volume()
    await _attached(house, volume)
    await house.act(volume, "os-begin_detaching")
    await house.come_due("hold_volume")
    assert await house.status(volume) == "in-use"
    assert house.driver.exports == {(volume, "compute1")}


async def test_a_hold_that_cannot_end_by_itself_is_ended_and_its_owner_told(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    await house.act(volume, "os-initialize_connection", CONNECTOR)
    long_ago = {"due_at": 1.0, "opened_at": 1.0, "queue": "scheduler.gone"}
    held = operation_rows.c.workflow == "hold_volume"
    statement = operation_rows.update().where(held).values(long_ago)
    await house.app.store.write(lambda tx: tx.run(statement))
    assert house.engine is not None
    assert await sweep.end_overdue(house.engine, 3600.0) == 1
    await house.quiet()
    assert await house.status(volume) == "available"
    assert house.driver.exports == set()
    (told,) = (await house.member.get("/messages")).json()["messages"]
    assert told["user_message"].startswith("take a reservation of the volume back")


async def test_giving_back_does_not_take_the_next_clients_reservation_away(house: House) -> None:
    volume = await house.volume()
    await house.act(volume, "os-reserve")
    await house.act(volume, "os-initialize_connection", CONNECTOR)
    gate = house.driver.gates["unexport"] = threading.Event()
    await house.act(volume, "os-unreserve")
    assert await house.status(volume) == "available"
    assert (await house.act(volume, "os-reserve")).status_code == 202
    gate.set()
    await house.quiet()
    assert house.driver.exports == set()
    assert await house.status(volume) == "attaching"
    assert (await house.act(volume, "os-attach", ATTACH)).status_code == 202


@pytest.mark.parametrize("action", ["os-detach", "os-terminate_connection", "os-force_detach"])
async def test_a_detach_that_failed_can_be_repeated(house: House, action: str) -> None:
    volume = await house.volume()
    await _attached(house, volume)
    value: Any = CONNECTOR if action == "os-terminate_connection" else {}
    await house.act(volume, "os-begin_detaching")
    house.driver.failures["unexport"] = PermanentError("no way")
    assert (await house.act(volume, action, value, house.admin)).status_code == 500
    (use,) = (await house.member.get("/attachments/detail")).json()["attachments"]
    assert use["status"] == "error_detaching"
    house.driver.failures.clear()
    assert (await house.act(volume, action, value, house.admin)).status_code == 202
    assert house.driver.exports == set()
    assert (await house.act(volume, "os-detach", {})).status_code == 202
    assert await house.status(volume) == "available"
    assert (await house.member.get("/attachments")).json() == {"attachments": []}


async def test_a_detach_that_failed_can_be_repeated_by_the_attachments_api(house: House) -> None:
    volume = await house.volume()
    ident = await house.in_use(volume)
    house.driver.failures["unexport"] = PermanentError("no way")
    assert (await house.member.delete(f"/attachments/{ident}")).status_code == 500
    assert await house.status(volume) == "in-use"
    house.driver.failures.clear()
    assert (await house.member.delete(f"/attachments/{ident}")).status_code == 200
    assert house.driver.exports == set()
    assert await house.status(volume) == "available"


async def _late(house: House, volume: str, workflow: str) -> None:
    """Who took an operation that ended long ago wakes up with what he found then: he was frozen."""
    engine = house.engine
    assert engine is not None
    done = await house.app.store.read(lambda tx: operations.touching(tx, volume))
    old = next(one for one in done if one.workflow == workflow)
    step = engine.registry[workflow].step(old.step)
    assert isinstance(step, Looking)
    found = await house.app.store.read(lambda tx: step.look(tx, engine._run_of(old)))
    await engine._hold_and_step(_Taken(old, 0.0, found), began=float("-inf"))


async def test_a_late_detach_does_not_shut_out_a_host_that_is_connected_again(
    house: House,
) -> None:
    volume = await house.volume()
    await _attached(house, volume)
    house.driver.failures["unexport"] = PermanentError("not now")
    await house.act(volume, "os-detach", {})
    house.driver.failures.clear()
    assert (await house.act(volume, "os-initialize_connection", CONNECTOR)).status_code == 200
    await _late(house, volume, "detach_volume")
    assert house.driver.exports == {(volume, "compute1")}


async def test_a_late_attach_does_not_let_a_host_in_that_has_left(house: House) -> None:
    volume = await house.volume()
    await _attached(house, volume)
    await house.act(volume, "os-terminate_connection", CONNECTOR)
    assert house.driver.exports == set()
    await _late(house, volume, "attach_volume")
    assert house.driver.exports == set()
