"""Block storage tells of a volume that has grown."""

from __future__ import annotations

from typing import Any

from breezeblock.compute.hypervisor import HostError
from tests.service.compute.cloud import ComputeCloud

NOWHERE = "00000000-0000-4000-8000-000000000000"


def extended(server: str, volume: str | None) -> dict[str, Any]:
    tag = {"tag": volume} if volume else {}
    return {"name": "volume-extended", "server_uuid": server, **tag}


async def tell(cloud: ComputeCloud, *events: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    body = {"events": list(events)}
    reply = await cloud.admin.call("POST", "/os-server-external-events", body, "2.51")
    return reply.status_code, reply.json().get("events", [])


async def test_the_guest_sees_its_volumes_new_size(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    await cloud.house.put(volume, size=3)
    status, events = await tell(cloud, extended(server, volume))
    assert status == 200
    assert events == [{**extended(server, volume), "status": "completed", "code": 200}]
    assert cloud.hypervisor.sizes == {volume: 3 << 30}


async def test_each_event_has_its_code(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    status, events = await tell(
        cloud,
        extended(server, volume),
        extended(server, None),
        extended(NOWHERE, volume),
        extended(server, NOWHERE),
        {"name": "network-changed", "server_uuid": server},
    )
    assert (status, [event["code"] for event in events]) == (207, [200, 400, 404, 404, 200])
    assert [event["status"] for event in events[:2]] == ["completed", "failed"]


async def test_a_guest_that_cannot_see_it_is_told_of(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    cloud.hypervisor.fail("resize", HostError("how it was attached is not known"))
    status, [event] = await tell(cloud, extended(server, volume))
    assert (status, event["status"], event["code"]) == (207, "failed", 500)
    assert await cloud.house.status(volume) == "in-use"


async def test_a_server_that_is_off_sees_it_when_it_starts(cloud: ComputeCloud) -> None:
    server, volume = await cloud.server(), await cloud.house.volume()
    await cloud.attach(server, volume)
    await cloud.act(server, "os-stop")
    await cloud.quiet()
    await cloud.house.put(volume, size=3)
    assert (await tell(cloud, extended(server, volume)))[0] == 200
    await cloud.act(server, "os-start")
    await cloud.quiet()
    [disk] = cloud.hypervisor.guests[server].disks
    assert disk.size_bytes == 3 << 30


async def test_only_administrators_may_tell(cloud: ComputeCloud) -> None:
    server = await cloud.server()
    body = {"events": [extended(server, NOWHERE)]}
    reply = await cloud.member.call("POST", "/os-server-external-events", body)
    assert reply.status_code == 403


async def test_bad_bodies_are_400(cloud: ComputeCloud) -> None:
    for body in (
        {},
        {"events": []},
        {"events": [{"name": "nonsense", "server_uuid": NOWHERE}]},
        {"events": [{"name": "volume-extended", "server_uuid": "x"}]},
    ):
        reply = await cloud.admin.call("POST", "/os-server-external-events", body)
        assert reply.status_code == 400, body
