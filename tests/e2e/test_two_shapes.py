"""Both workflows in both shapes: one process, and every role apart on RabbitMQ and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.deployment import Deployment, one_process, spread_out

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["one process", "spread out"])
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    if request.param == "one process":
        made = one_process()
    else:
        postgres = request.getfixturevalue("postgres")
        made = spread_out(
            postgres.create_database("shapes"),
            postgres.create_database("shapes_compute"),
            request.getfixturevalue("rabbitmq").url,
        )
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def operations_on(deployment: Deployment, resource: str) -> list[dict[str, Any]]:
    reply = await deployment.volume("GET", f"/operations?resource_id={resource}")
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["operations"]
    return found


async def test_a_volume_takes_the_way_over_the_scheduler_to_the_backend(
    deployment: Deployment,
) -> None:
    volume = await deployment.create_volume()
    assert volume["status"] == "available"
    (operation,) = await operations_on(deployment, volume["id"])
    stops = [(entry["step"], entry["event"]) for entry in operation["trail"]]
    assert stops == [("api", "accepted"), ("schedule", "done"), ("build", "succeeded")]
    backend = volume["os-vol-host-attr:host"].partition("#")[0]
    assert [entry.get("queue") for entry in operation["trail"][1:]] == [
        "scheduler",
        f"volume.{backend}",
    ]


async def test_fifty_volumes_at_once_all_become_available(deployment: Deployment) -> None:
    volumes = await asyncio.gather(*(deployment.create_volume() for _ in range(50)))
    assert {volume["status"] for volume in volumes} == {"available"}
    for volume in volumes:
        reply = await deployment.volume("DELETE", f"/volumes/{volume['id']}")
        assert reply.status_code == 202, reply.text
    for volume in volumes:
        await deployment.until_gone(f"/volumes/{volume['id']}")


async def test_a_text_travels_on_a_volume_from_guest_to_guest(deployment: Deployment) -> None:
    volume = (await deployment.create_volume())["id"]
    first, second = await asyncio.gather(
        deployment.create_server("a"), deployment.create_server("b")
    )
    attached = f"/servers/{first}/os-volume_attachments"
    async with deployment.inside(first) as guest:
        reply = await deployment.compute(
            "POST", attached, {"volumeAttachment": {"volumeId": volume}}
        )
        assert reply.status_code == 200, reply.text
        await deployment.until_volume_is("in-use", volume)
        disk = await guest.find_disk(volume)
        await guest.run(f"echo carried | dd of={disk} conv=fsync 2>/dev/null")
        reply = await deployment.volume(
            "POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": 2}}
        )
        assert reply.status_code == 202, reply.text
        for _ in range(200):
            if await guest.size(disk) == 2 << 30:
                break
            await asyncio.sleep(0.1)
        assert await guest.size(disk) == 2 << 30
    grown = await deployment.settled("volumes", "volume", volume)
    assert (grown["status"], grown["size"]) == ("in-use", 2)
    assert (await deployment.compute("DELETE", f"{attached}/{volume}")).status_code == 202
    await deployment.until_volume_is("available", volume)
    reply = await deployment.compute(
        "POST",
        f"/servers/{second}/os-volume_attachments",
        {"volumeAttachment": {"volumeId": volume}},
    )
    assert reply.status_code == 200, reply.text
    async with deployment.inside(second) as guest:
        disk = await guest.find_disk(volume)
        assert (await guest.run(f"head -c 7 {disk}")) == "carried"
    for ident in (first, second):
        assert (await deployment.compute("DELETE", f"/servers/{ident}")).status_code == 204
    await deployment.until_volume_is("available", volume)
    assert (await deployment.volume("DELETE", f"/volumes/{volume}")).status_code == 202
    await deployment.until_gone(f"/volumes/{volume}")
