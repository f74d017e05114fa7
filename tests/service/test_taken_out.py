"""Backends that an operator has taken out: from his answer on nothing new comes to them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable

import httpx2
import pytest

from breezeblock.store import services
from breezeblock.store.clock import db_now
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


async def test_a_scheduler_knows_at_once_that_a_backend_is_up_again(house: House) -> None:
    view = PoolView(house.app.store, down_time=60.0, max_age=3600.0)
    table, store = services.services, house.app.store

    async def up_when_reported(seconds_ago: float) -> set[bool]:
        reported = table.update().values(reported_at=db_now() - seconds_ago)
        await store.write(lambda tx: tx.run(reported))
        return {one.up for one in await view.pools()}

    assert await up_when_reported(0) == {True}
    assert await up_when_reported(61) == {False}
    assert await up_when_reported(0) == {True}


async def test_a_scheduler_that_has_seen_no_pool_looks_again(house: House) -> None:
    view = PoolView(house.app.store, down_time=60.0, max_age=3600.0)
    reports = await house.app.store.read(services.all_pools)
    told = {one.name: one.capabilities for one in reports}
    backend = reports[0].backend
    await house.app.store.write(lambda tx: services.report_pools(tx, backend, {}))
    assert list(await view.pools()) == []
    await house.app.store.write(lambda tx: services.report_pools(tx, backend, told))
    assert [one.name for one in await view.pools()] == list(told)


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


REFUSED = "Modification operations are not allowed on frozen storage backends."


async def test_what_is_on_a_frozen_backend_is_neither_deleted_nor_copied_until_it_is_thawed(
    house: House,
) -> None:
    volume, other = await house.volume(), await house.volume()
    snapshot = await house.snapshot(volume)
    assert (await house.admin.put("/os-services/freeze", BACKEND)).status_code == 200
    admin = house.admin

    def force(kind: str, ident: str) -> Awaitable[httpx2.Response]:
        return admin.post(f"/{kind}/{ident}/action", {"os-force_delete": {}})

    refused = [
        await house.member.delete(f"/volumes/{other}"),
        await admin.delete(f"/volumes/{other}?force=true&cascade=true"),
        await force("volumes", other),
        await house.member.post("/snapshots", {"snapshot": {"volume_id": other}}),
        await house.member.delete(f"/snapshots/{snapshot}"),
        await force("snapshots", snapshot),
    ]
    assert [one.status_code for one in refused] == [400] * len(refused)
    assert {one.json()["badRequest"]["message"] for one in refused} == {REFUSED}
    assert await house.status(volume) == await house.status(other) == "available"
    assert (await house.admin.put("/os-services/thaw", BACKEND)).status_code == 200
    assert (await house.member.delete(f"/snapshots/{snapshot}")).status_code == 202
    assert (await house.member.delete(f"/volumes/{other}")).status_code == 202
    await house.quiet()
    assert await house.status(other) == "gone"


async def test_a_frozen_backend_keeps_what_is_attached_going(house: House) -> None:
    volume = await house.volume()
    await house.admin.put("/os-services/freeze", BACKEND)
    attachment = await house.in_use(volume)
    assert await house.status(volume) == "in-use"
    assert (await house.member.delete(f"/attachments/{attachment}")).status_code == 200
    assert await house.status(volume) == "available"


async def test_a_frozen_backend_is_shown_as_disabled_and_what_the_operator_said_stays(
    house: House,
) -> None:
    async def shown() -> tuple[str, str | None, bool]:
        listed = await house.admin.get("/os-services?binary=cinder-volume")
        (found,) = listed.json()["services"]
        return found["status"], found["disabled_reason"], found["frozen"]

    await house.admin.put("/os-services/freeze", BACKEND)
    assert await shown() == ("disabled", "frozen", True)
    (zone,) = (await house.member.get("/os-availability-zone")).json()["availabilityZoneInfo"]
    assert zone["zoneState"] == {"available": False}
    hosts = (await house.admin.get("/os-hosts")).json()["hosts"]
    assert {one["service-state"] for one in hosts} == {"disabled"}
    reason = {**SERVICE, "disabled_reason": "new disks"}
    await house.admin.put("/os-services/disable-log-reason", reason)
    await house.admin.put("/os-services/thaw", BACKEND)
    assert await shown() == ("disabled", "new disks", False)
    await house.admin.put("/os-services/enable", SERVICE)
    assert await shown() == ("enabled", None, False)


async def test_a_disabled_backend_finishes_its_work_and_serves_what_it_holds(
    house: House,
) -> None:
    volume = await house.volume()
    gate = house.driver.gates["create"] = threading.Event()
    begun = (await house.member.post("/volumes", {"volume": {"size": 1}})).json()["volume"]["id"]
    while ("create", begun) not in house.driver.calls:
        await asyncio.sleep(0.01)
    assert (await house.admin.put("/os-services/disable", SERVICE)).status_code == 200
    gate.set()
    await house.quiet()
    assert await house.status(begun) == "available"
    assert (await house.act(volume, "os-extend", {"new_size": 2})).status_code == 202
    await house.quiet()
    assert (await house.show(volume))["size"] == 2
    await house.snapshot(volume)
    await house.in_use(volume)
    assert (await house.member.delete(f"/volumes/{begun}")).status_code == 202
    await house.quiet()
    assert await house.status(begun) == "gone"
    refused = await house.volume()
    assert await house.status(refused) == "error"
    (message,) = await house.messages()
    assert "disabled" in message


@pytest.mark.parametrize(("call", "body"), [("disable", SERVICE), ("freeze", BACKEND)])
async def test_nothing_is_moved_on_a_backend_that_is_taken_out(
    house: House, call: str, body: dict[str, str]
) -> None:
    pool = await house.add_pool()
    volume = await house.volume()
    where = (await house.show(volume, house.admin))["os-vol-host-attr:host"]
    target = next(one for one in (pool, "node1@fast#pool0") if one != where)
    await house.new_type("gold", extra_specs={"fake:tier": "gold"})
    assert (await house.admin.put(f"/os-services/{call}", body)).status_code == 200
    await house.act(volume, "os-migrate_volume", {"host": target}, house.admin)
    wish = {"new_type": "gold", "migration_policy": "on-demand"}
    await house.act(volume, "os-retype", wish)
    await house.quiet()
    shown = await house.show(volume, house.admin)
    assert (shown["os-vol-host-attr:host"], shown["status"]) == (where, "available")
    assert shown["volume_type"] == "__DEFAULT__"
    assert not {verb for verb, _id in house.driver.calls} & {"move", "retype"}
