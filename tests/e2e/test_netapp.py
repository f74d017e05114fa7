"""The two workflows on an ONTAP array: every role on its own, RabbitMQ, PostgreSQL, and iSCSI.

The array is the simulator, its LUNs are real: guests on two hosts reach them with QEMU's initiator,
each with its own name and CHAP secret.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.e2e.deployment import Deployment, spread_out
from tests.engines.ontap import Ontap
from tests.engines.process import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

HOSTS = ("rack1", "rack2")
GIB = 1 << 30


class Cloud(Deployment):
    """The deployment beside its array, in the words of servers and their volumes."""

    array: Ontap

    async def server_on(self, host: str) -> str:
        return await self.create_server(f"on-{host}", availability_zone=f"nova:{host}")

    async def attach(self, server: str, volume: str) -> None:
        body = {"volumeAttachment": {"volumeId": volume}}
        reply = await self.compute("POST", f"/servers/{server}/os-volume_attachments", body)
        assert reply.status_code == 200, reply.text
        await self.until_volume_is("in-use", volume)

    async def detach(self, server: str, volume: str) -> None:
        path = f"/servers/{server}/os-volume_attachments/{volume}"
        assert (await self.compute("DELETE", path)).status_code == 202
        await self.until_volume_is("available", volume)

    async def act(self, volume: str, action: str, **wishes: Any) -> None:
        reply = await self.volume("POST", f"/volumes/{volume}/action", {action: wishes})
        assert reply.status_code == 202, reply.text

    async def ways(self, volume: str) -> dict[str, list[tuple[str, str | None]]]:
        """Workflow → which steps ran on the volume, from which queues."""
        reply = await self.volume("GET", f"/operations?resource_id={volume}")
        return {
            one["workflow"]: [(entry["step"], entry.get("queue")) for entry in one["trail"]]
            for one in reply.json()["operations"]
        }

    def maps(self, volume: str) -> dict[str, list[str]]:
        """Who may reach the volume's LUN, as the array says: igroup → initiators."""
        found = self.array.records(f"/protocols/san/lun-maps?lun.name=*volume-{volume}")
        names = [one["igroup"]["name"] for one in found]
        groups = self.array.records("/protocols/san/igroups?fields=initiators.name")
        return {
            one["name"]: [initiator["name"] for initiator in one["initiators"]]
            for one in groups
            if one["name"] in names
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(request: pytest.FixtureRequest, ontap_server: Ontap) -> AsyncIterator[Cloud]:
    postgres = request.getfixturevalue("postgres")
    options = {
        **ontap_server.options,
        "netapp_lun_space_reservation": "disabled",
        "use_chap_auth": True,
        "chap_secret_key": "a key that only the volume services know",
    }
    plan = spread_out(
        postgres.create_database("netapp"),
        postgres.create_database("netapp_compute"),
        request.getfixturevalue("rabbitmq").url,
        backends=[{"name": "array", "driver": "netapp", "options": options}],
    )
    made = Cloud(plan.settings, roles=plan.roles[:-1])
    made.array = ontap_server
    try:
        await made.start()
        for number, host in enumerate(HOSTS):
            port = free_port() if number else made.compute_port
            own = {"HOST": host, "PORT": str(port), "INITIATOR": initiator(host)}
            environment = {f"BREEZEBLOCK_COMPUTE__{key}": value for key, value in own.items()}
            made.launch(f"compute-{host}", ("compute",), **environment)
            await until_healthy(f"http://127.0.0.1:{port}/healthcheck")
        yield made
    finally:
        await made.stop()


async def until_healthy(url: str) -> None:
    async with asyncio.timeout(60), httpx2.AsyncClient() as http:
        while True:
            with suppress(httpx2.HTTPError):
                if (await http.get(url)).status_code == 200:
                    return
            await asyncio.sleep(0.1)


def initiator(host: str) -> str:
    return f"iqn.2026-11.test:{host}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(cloud: Cloud) -> tuple[str, str]:
    """A server on each host."""
    one, two = await asyncio.gather(*(cloud.server_on(host) for host in HOSTS))
    return one, two


@pytest_asyncio.fixture(loop_scope="module")
async def volume(cloud: Cloud) -> AsyncIterator[str]:
    """A volume of 1 GiB; its LUN is gone from the array when the test has ended."""
    made = await cloud.create_volume()
    assert made["status"] == "available", cloud.logs()
    yield made["id"]
    reply = await cloud.volume("DELETE", f"/volumes/{made['id']}")
    assert reply.status_code == 202, reply.text
    await cloud.until_gone(f"/volumes/{made['id']}")
    assert cloud.array.records(f"/storage/luns?name=*-{made['id']}*") == []


async def test_a_text_travels_on_a_lun_from_a_guest_on_one_host_to_one_on_another(
    cloud: Cloud, servers: tuple[str, str], volume: str
) -> None:
    for server, host in zip(servers, HOSTS, strict=True):
        await cloud.attach(server, volume)
        assert list(cloud.maps(volume).values()) == [[initiator(host)]]
        async with cloud.inside(server) as guest:
            disk = await guest.find_disk(volume)
            if host == HOSTS[0]:
                await guest.run(f"echo carried | dd of={disk} conv=fsync 2>/dev/null")
            assert await guest.run(f"head -c 7 {disk}") == "carried"
        await cloud.detach(server, volume)
        assert cloud.maps(volume) == {}
    way = (await cloud.ways(volume))["create_volume"]
    assert [step for step, _ in way] == ["api", "schedule", "build"]
    assert re.fullmatch(r"scheduler volume\..+@array", " ".join(str(queue) for _, queue in way[1:]))


async def test_a_host_proves_with_chap_who_it_is(
    cloud: Cloud, servers: tuple[str, str], volume: str
) -> None:
    await cloud.attach(servers[0], volume)
    path = "/protocols/san/iscsi/credentials?fields=authentication_type"
    known = cloud.array.records(path)
    kinds = {one["initiator"]: one["authentication_type"] for one in known}
    assert kinds[initiator(HOSTS[0])] == "chap"
    await cloud.detach(servers[0], volume)


async def test_a_guest_sees_its_lun_grow(
    cloud: Cloud, servers: tuple[str, str], volume: str
) -> None:
    await cloud.attach(servers[0], volume)
    async with cloud.inside(servers[0]) as guest:
        disk = await guest.find_disk(volume)
        await guest.run(f"echo kept | dd of={disk} conv=fsync 2>/dev/null")
        await cloud.act(volume, "os-extend", new_size=2)
        async with asyncio.timeout(60):
            while await guest.size(disk) != 2 * GIB:
                await asyncio.sleep(0.1)
        assert await guest.run(f"head -c 4 {disk}") == "kept"
    await cloud.until_volume_is("in-use", volume)
    await cloud.detach(servers[0], volume)


async def test_a_guest_writes_on_while_its_lun_moves_to_another_flexvol(
    cloud: Cloud, servers: tuple[str, str], volume: str
) -> None:
    await cloud.attach(servers[0], volume)
    host = (await cloud.until_volume_is("in-use", volume))["os-vol-host-attr:host"]
    backend, _, pool = host.partition("#")
    (other,) = {"vol1", "vol2"} - {pool}
    async with cloud.inside(servers[0]) as guest:
        disk = await guest.find_disk(volume)
        await cloud.act(volume, "os-migrate_volume", host=f"{backend}#{other}")
        await guest.run(f"echo moving | dd of={disk} conv=fsync 2>/dev/null")
        async with asyncio.timeout(60):
            while (await cloud.until_volume_is("in-use", volume))["migration_status"] != "success":
                await asyncio.sleep(0.1)
        await guest.run(f"echo and on | dd of={disk} seek=1 conv=fsync 2>/dev/null")
        assert await guest.run(f"head -c 6 {disk}") == "moving"
    moved = await cloud.until_volume_is("in-use", volume)
    assert moved["os-vol-host-attr:host"] == f"{backend}#{other}"
    await cloud.detach(servers[0], volume)


async def test_a_guest_writes_on_when_the_array_was_away(
    cloud: Cloud, servers: tuple[str, str], volume: str
) -> None:
    await cloud.attach(servers[1], volume)
    async with cloud.inside(servers[1]) as guest:
        disk = await guest.find_disk(volume)
        await guest.run(f"echo before | dd of={disk} conv=fsync 2>/dev/null")
        cloud.array.kill()
        cloud.array.start()
        await guest.run(f"echo after! | dd of={disk} conv=fsync 2>/dev/null")
        assert await guest.run(f"head -c 6 {disk}") == "after!"
    await cloud.detach(servers[1], volume)
