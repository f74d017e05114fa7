"""Three hosts on one wire: what goes over it arrives, and what is cut in the middle ends well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio

from breezeblock.compute.guest_agent import GuestAgent
from tests.e2e.deployment import PATIENCE
from tests.e2e.writing import Writing
from tests.engines.postgres import Postgres
from tests.engines.rabbitmq import RabbitMQ
from tests.hosts.deployment import ROLES, Hosts
from tests.hosts.network import Network

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SILENCE = 31.0
SWEPT_WITHIN = 90.0


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    made = Network(*ROLES)
    try:
        yield made
    finally:
        made.remove()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(network: Network) -> AsyncIterator[Hosts]:
    place = network["control"].place
    broker, database = RabbitMQ(place), Postgres(place)
    try:
        await asyncio.gather(asyncio.to_thread(broker.start), asyncio.to_thread(database.start))
        made = Hosts(network, broker, database)
        try:
            await made.start()
            yield made
        finally:
            await made.stop()
    finally:
        broker.remove()
        database.remove()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guests(cloud: Hosts) -> dict[str, str]:
    """A server on each of the hosts with QEMU, by the host's name."""
    names = ("one", "two")
    ids = await asyncio.gather(
        *(cloud.create_server(f"on-{name}", availability_zone=f"nova:{name}") for name in names)
    )
    return dict(zip(names, ids, strict=True))


async def write(guest: GuestAgent, disk: str, text: str) -> None:
    await guest.run(f"printf %s '{text}' | dd of={disk} conv=fsync 2>/dev/null")


async def read(guest: GuestAgent, disk: str, length: int) -> str:
    return await guest.run(f"head -c {length} {disk}")


async def free(cloud: Hosts, *volumes: str) -> None:
    """Delete the volumes. Nothing is left of them, and nothing else is wrong.

    A sweep removes what a host made that was overtaken meanwhile, a minute after that.
    """
    for volume in volumes:
        reply = await cloud.volume("DELETE", f"/volumes/{volume}")
        assert reply.status_code == 202, reply.text
    for volume in volumes:
        await cloud.until_gone(f"/volumes/{volume}")
    deadline = time.monotonic() + SWEPT_WITHIN
    while not (diagnosis := await cloud.diagnosis()).healthy:
        assert time.monotonic() < deadline, diagnosis
        await asyncio.sleep(1.0)
    assert diagnosis.held == {}
    assert cloud.exports_of("one") == cloud.exports_of("two") == []


async def test_a_volume_is_used_from_the_other_host_and_from_its_own(
    cloud: Hosts, guests: dict[str, str]
) -> None:
    volume = (await cloud.create_volume(volume_type="one"))["id"]
    await cloud.attach(guests["two"], volume)
    async with cloud.inside(guests["two"]) as guest:
        await write(guest, await guest.find_disk(volume), "over the wire")
    await cloud.detach(guests["two"], volume)
    await cloud.attach(guests["one"], volume)
    async with cloud.inside(guests["one"]) as guest:
        assert await read(guest, await guest.find_disk(volume), 13) == "over the wire"
    await cloud.detach(guests["one"], volume)
    await free(cloud, volume)


async def test_a_host_with_volumes_is_silent_for_half_a_minute(
    cloud: Hosts, network: Network, guests: dict[str, str]
) -> None:
    """Its work, its lock on a row and its place at the broker go; back, it works on within seconds.

    Half a minute, because the broker gives up a silent client after two or three heartbeats.
    """
    wanted = (await cloud.create_volume(volume_type="one"))["id"]
    locked = (await cloud.create_volume(volume_type="two"))["id"]
    in_zone = {"availability_zone": "nova"}
    with cloud.transaction_on("one", locked):
        creations = [asyncio.create_task(cloud.create_volume(**in_zone)) for _ in range(12)]
        await asyncio.wait(creations, return_when=asyncio.FIRST_COMPLETED)
        network.cut("one")
        began = asyncio.get_running_loop().time()
    waits = asyncio.create_task(cloud.request_to_attach(guests["two"], wanted))
    await cloud.until_volume_service_is("down", "one@one")

    # Whatever was under way has been done, or is done by the other host; new work goes there.
    assert {volume["status"] for volume in await asyncio.gather(*creations)} == {"available"}
    assert (await cloud.create_volume(**in_zone))["os-vol-host-attr:host"] == "two@two#two"
    # Who waits for the silent host is told so; his request stands.
    answer = await waits
    assert answer.status_code == 503, answer.text
    assert "still under way" in answer.json()["serviceUnavailable"]["message"]
    # The row that it has locked can be changed all the same.
    body = {"volume": {"name": "renamed"}}
    assert (await cloud.volume("PUT", f"/volumes/{locked}", body)).status_code == 200
    await cloud.until_consumed("volume.one@one", by=0)

    await asyncio.sleep(began + SILENCE - asyncio.get_running_loop().time())
    network.heal("one")
    await cloud.until_volume_service_is("up", "one@one")
    assert (await cloud.create_volume(volume_type="one"))["status"] == "available"
    await cloud.until_volume_is("in-use", wanted)
    async with cloud.inside(guests["two"]) as guest:
        await guest.find_disk(wanted)
    assert cloud.exports_of("one") == [wanted]
    await cloud.until_consumed("volume.one@one", by=1)
    await cloud.detach(guests["two"], wanted)
    await free(cloud, *await cloud.volumes())


async def test_a_host_with_guests_is_cut_off_while_it_attaches_and_detaches(
    cloud: Hosts, network: Network, guests: dict[str, str]
) -> None:
    """First it is silent, and what its guest writes waits; then it is heard but hears no answer."""
    used, *volumes = [(await cloud.create_volume(volume_type="one"))["id"] for _ in range(4)]
    server = guests["two"]
    await cloud.attach(server, used)
    async with cloud.inside(server) as guest:
        writing = await Writing.begin(guest, await guest.find_disk(used))
        for volume in volumes:
            await cloud.attach(server, volume, "2.101")  # each got less far than the one before
        network.cut("two")
        await cloud.until_volume_service_is("down", "two@two")
        network.heal("two")
        for volume in volumes:
            await cloud.until_volume_is("in-use", volume)
            await write(guest, await guest.find_disk(volume), volume)
        assert sorted(cloud.exports_of("one")) == sorted([used, *volumes])
        assert await cloud.volumes_of(server) == {used, *volumes}
        await writing.goes_on()
        await writing.end()

        for volume in volumes:
            path = f"/servers/{server}/os-volume_attachments/{volume}"
            assert (await cloud.compute("DELETE", path)).status_code == 202
        network.deafen("two", "control")
        await cloud.until_volume_service_is("down", "two@two")
        network.join("two", "control")
        async with asyncio.timeout(PATIENCE):
            while await cloud.volumes_of(server) != {used}:
                await asyncio.sleep(0.1)
        for volume in volumes:
            await cloud.until_volume_is("available", volume)
        assert cloud.exports_of("one") == [used]
        assert f"/dev/{await guest.run('ls /sys/block')}" == await guest.find_disk(used)
    await cloud.detach(server, used)
    await cloud.attach(guests["one"], volumes[-1])
    async with cloud.inside(guests["one"]) as guest:
        disk = await guest.find_disk(volumes[-1])
        assert await read(guest, disk, len(volumes[-1])) == volumes[-1]
    await cloud.detach(guests["one"], volumes[-1])
    await free(cloud, used, *volumes)


async def test_a_host_that_reaches_the_storage_only_is_overtaken_and_fenced(
    cloud: Hosts, network: Network
) -> None:
    """Both hosts delete volumes of the backend that they share; one loses sight of the database."""
    made = await asyncio.gather(*(cloud.create_volume(volume_type="shared") for _ in range(8)))
    volumes = [volume["id"] for volume in made]
    locks = cloud.locks_of_the_shared_backend()
    with ExitStack() as held:  # the drivers wait
        for volume in volumes:
            held.enter_context(locks.hold(volume))
            assert (await cloud.volume("DELETE", f"/volumes/{volume}")).status_code == 202
        first = await cloud.until_worked_on(volumes, {"one", "two"})
        assert "one" in first.values()
        network.part("one", "control")
        await cloud.until_worked_on(volumes, {"two"})
        network.join("one", "control")
        await cloud.until_volume_service_is("up", "one@one")
    for volume in volumes:
        await cloud.until_gone(f"/volumes/{volume}")
        [_created, deleted] = await cloud.operations_on(volume)
        assert deleted["state"] == "succeeded"
        assert deleted["trail"][-1]["worker"].partition(":")[0] == "two"
        if first[volume] == "one":
            await cloud.until_logged("one", "fenced", deleted["id"])
    await free(cloud)
