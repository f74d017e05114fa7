"""Backends that an operator has taken out: from his answer on nothing new comes to them."""

from __future__ import annotations

import pytest

from breezeblock.workflows.pool_view import PoolView
from tests.service.house import House

SERVICE = {"host": "node1@fast", "binary": "cinder-volume"}
BACKEND = {"host": "node1@fast"}


@pytest.mark.parametrize(
    ("call", "back", "body", "seen"),
    [
        ("disable", "enable", SERVICE, (False, False)),
        ("freeze", "thaw", BACKEND, (True, True)),
    ],
)
async def test_a_scheduler_knows_it_though_it_has_just_looked_at_the_pools(
    house: House, call: str, back: str, body: dict[str, str], seen: tuple[bool, bool]
) -> None:
    view = PoolView(house.app.store, down_time=60.0, max_age=3600.0)

    async def states() -> set[tuple[bool, bool]]:
        return {(one.enabled, one.frozen) for one in await view.pools()}

    assert await states() == {(True, False)}
    assert (await house.admin.put(f"/os-services/{call}", body)).status_code == 200
    assert await states() == {seen}
    assert (await house.admin.put(f"/os-services/{back}", body)).status_code == 200
    assert await states() == {(True, False)}


async def test_who_asks_for_growth_on_a_frozen_backend_is_not_told_of_room(house: House) -> None:
    volume = await house.volume()
    await house.admin.put("/os-services/freeze", BACKEND)
    assert (await house.act(volume, "os-extend", {"new_size": 2})).status_code == 202
    await house.quiet()
    (message,) = (await house.member.get("/messages", "3.71")).json()["messages"]
    assert "takes no growth now" in message["user_message"]
    assert "frozen" in message["user_message"]
    assert "space" not in message["user_message"]
    assert await house.status(volume) == "available"
