"""A scheduler's view that lives on is at each look what a new one would see."""

from __future__ import annotations

from breezeblock.scheduler.pools import Pool
from breezeblock.store import services, volumes
from breezeblock.store.store import WriteTx
from breezeblock.store.tables import services as service_rows
from breezeblock.workflows.pool_view import PoolView
from tests.service.house import House


def report(tx: WriteTx, backend: str, zone: str = "nova", **pools: int) -> None:
    services.report(tx, services.VOLUME, backend, zone, backend_state="up")
    told = {f"{backend}#{name}": {"free_capacity_gb": free} for name, free in pools.items()}
    services.report_pools(tx, backend, told)


async def test_what_backends_tell_is_seen_without_reading_all_anew(house: House) -> None:
    store = house.app.store
    lasting = PoolView(store, down_time=60.0, max_age=0.0)

    async def now() -> dict[str, Pool]:
        seen = {one.name: one for one in await lasting.pools()}
        anew = await PoolView(store, down_time=60.0).pools()
        assert seen == {one.name: one for one in anew}
        return seen

    await now()
    await store.write(lambda tx: report(tx, "far@one", a=10, b=20))
    await store.write(lambda tx: report(tx, "far@two", a=30))
    assert len(await now()) == 4
    await store.write(lambda tx: report(tx, "far@one", zone="az2", b=5, c=6))
    seen = await now()
    assert {name for name in seen if name.startswith("far@one")} == {"far@one#b", "far@one#c"}
    assert {seen["far@one#b"].availability_zone, seen["far@two#a"].availability_zone} == {
        *("az2", "nova")
    }
    volume = await house.volume(4)
    await house.volume(3)
    home = (await store.read(lambda tx: volumes.get(tx, volume))).host or ""
    backend, _, pool = home.partition("#")
    await store.write(lambda tx: report(tx, backend, **{pool: 7}))
    assert (await now())[home].volumes == 2
    gone = service_rows.delete().where(service_rows.c.host == "far@two")
    await store.write(lambda tx: tx.run(gone))
    assert not (await now())["far@two#a"].ready


async def test_a_placement_counts_until_the_pool_tells_of_itself(house: House) -> None:
    store = house.app.store
    await store.write(lambda tx: report(tx, "far@one", a=10, b=20))
    view = PoolView(store, down_time=60.0, max_age=0.0)

    async def free() -> float:
        pools = {one.name: one for one in await view.pools()}
        return float(pools["far@one#a"].capabilities["free_capacity_gb"])

    assert await free() == 10
    view.book("far@one#a", 3)
    view.book("far@one#a", 2)
    assert await free() == 5
    trouble = {"process": "p", "remark": "", "down_time": 60.0}
    await store.write(
        lambda tx: services.report_trouble(tx, services.VOLUME, "far@one", "nova", **trouble)
    )
    assert await free() == 5
    await store.write(lambda tx: report(tx, "far@one", a=9, b=20))
    assert await free() == 9
