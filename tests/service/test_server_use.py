"""A volume is not taken from under a running server."""

from __future__ import annotations

import pytest

from breezeblock.model.errors import Unavailable
from tests.service.house import House

SERVER = "11111111-1111-1111-1111-111111111111"


class Compute:
    """What the compute service says of one server's volumes."""

    def __init__(self) -> None:
        self.uses: dict[str, str] = {}
        self.asked = 0
        self.away = False

    async def attachment_in_use(self, server_id: str, volume_id: str) -> str | None:
        self.asked += 1
        if self.away:
            raise Unavailable("time-out")
        return self.uses.get(volume_id) if server_id == SERVER else None


@pytest.fixture
def compute(house: House) -> Compute:
    compute = Compute()
    object.__setattr__(house.app, "servers", compute)
    return compute


async def test_what_a_server_uses_is_not_detached(house: House, compute: Compute) -> None:
    volume = await house.volume()
    attachment = await house.in_use(volume, server=SERVER)
    compute.uses = {volume: attachment}
    for reply in (
        await house.member.delete(f"/attachments/{attachment}"),
        await house.act(volume, "os-detach", {}),
        await house.act(volume, "os-detach", {"attachment_id": attachment}),
        await house.act(volume, "os-terminate_connection", {"connector": None}),
        await house.act(volume, "os-terminate_connection", {"connector": {"host": "node9"}}),
    ):
        assert reply.status_code == 409
        fault = reply.json()["conflictingRequest"]
        assert fault["message"].startswith("ConflictNovaUsingAttachment")
    assert await house.status(volume) == "in-use"
    assert house.driver.exports


async def test_who_may_not_detach_learns_nothing_of_the_server(
    house: House, compute: Compute
) -> None:
    volume = await house.volume()
    attachment = await house.in_use(volume, server=SERVER)
    second = await house.volume(volume_type=await house.multiattach_type())
    for host in ("compute1", "compute2"):
        compute.uses[second] = await house.in_use(second, host, server=SERVER)
    compute.uses[volume] = attachment
    for caller, status in ((house.other, 404), (house.reader, 403)):
        for reply in (
            await caller.delete(f"/attachments/{attachment}"),
            await house.act(volume, "os-detach", {}, caller),
            await house.act(volume, "os-detach", {"attachment_id": attachment}, caller),
            await house.act(second, "os-detach", {}, caller),
            await house.act(second, "os-force_detach", {}, caller),
            await house.act(volume, "os-terminate_connection", {"connector": None}, caller),
            await house.act(
                volume, "os-terminate_connection", {"connector": {"host": "node9"}}, caller
            ),
        ):
            assert reply.status_code == status, reply.text
            assert SERVER not in reply.text
    assert compute.asked == 0


async def test_what_the_server_has_let_go_of_is_detached(house: House, compute: Compute) -> None:
    volume = await house.volume()
    attachment = await house.in_use(volume, server=SERVER)
    compute.uses = {volume: "another-attachment"}
    assert (await house.member.delete(f"/attachments/{attachment}")).status_code == 200


async def test_the_compute_service_itself_may(house: House, compute: Compute) -> None:
    volume = await house.volume()
    attachment = await house.in_use(volume, server=SERVER)
    compute.uses = {volume: attachment}
    reply = await house.client.delete(
        f"/v3/attachments/{attachment}",
        headers={
            "X-Auth-Token": house.member.token,
            "X-Service-Token": "nova",
            "OpenStack-API-Version": "volume 3.44",
        },
    )
    assert reply.status_code == 200


async def test_without_an_answer_nothing_is_detached(house: House, compute: Compute) -> None:
    volume = await house.volume()
    attachment = await house.in_use(volume, server=SERVER)
    compute.away = True
    assert (await house.member.delete(f"/attachments/{attachment}")).status_code == 409
    assert await house.status(volume) == "in-use"


async def test_a_hosts_own_attachment_is_nobodys_question(house: House, compute: Compute) -> None:
    volume = await house.volume()
    attachment = await house.in_use(volume)
    compute.away = True
    assert (await house.member.delete(f"/attachments/{attachment}")).status_code == 200


async def test_an_administrator_may_force(house: House, compute: Compute) -> None:
    volume = await house.volume()
    attachment = await house.in_use(volume, server=SERVER)
    compute.uses = {volume: attachment}
    reply = await house.act(volume, "os-force_detach", {}, caller=house.admin)
    assert reply.status_code == 202
    assert await house.status(volume) == "available"
