"""Three hosts on one wire: what goes over it arrives, and what is cut in the middle ends well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from breezeblock.compute.guest_agent import GuestAgent
from tests.engines.postgres import Postgres
from tests.engines.rabbitmq import RabbitMQ
from tests.hosts.deployment import ROLES, Hosts
from tests.hosts.network import Network

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


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
        disk = await guest.find_disk(volume)
        assert await guest.run(f"head -c 13 {disk}") == "over the wire"
    await cloud.detach(guests["one"], volume)
    assert cloud.exports_of("one") == []
    diagnosis = await cloud.diagnosis()
    assert diagnosis.healthy, diagnosis
