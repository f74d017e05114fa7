"""The driver contract, `move`: to another pool of the backend, and the hosts do not notice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from breezeblock.drivers.base import Item, PermanentError, Volume
from tests.contract.crashing import Crasher
from tests.contract.drivers import (
    Backend,
    a_volume,
    assert_all_there,
    having,
    patiently,
    writing,
)
from tests.contract.scenes import Scene, finishes_what_a_killed_one_began, kinds

GIB = 1 << 30
MIB = 1 << 20

pytestmark = pytest.mark.parametrize(
    "backend", having("move"), ids=lambda case: case.name, indirect=True
)


def moved(backend: Backend, volume: Volume) -> Volume:
    """The volume in the other pool, brought there."""
    patiently(backend.driver.move, volume, backend.case.other_pool)
    return replace(volume, pool=backend.case.other_pool)


def test_a_moved_volume_is_in_the_other_pool_with_its_content(backend: Backend) -> None:
    volume = backend.create(size=2)
    backend.write(volume, 1, length=2 * MIB)
    backend.write(volume, 2, offset=2 * GIB - MIB, length=MIB)
    there = moved(backend, volume)
    assert backend.driver.inventory() == [Item("volume", volume.id, 2, pool=there.pool)]
    with backend.connected(there) as disk:
        assert disk.gib == 2
        assert disk.reads(1, length=2 * MIB)
        assert disk.reads(2, offset=2 * GIB - MIB, length=MIB)


def test_hosts_write_on_while_it_moves_there_and_back(backend: Backend) -> None:
    volume = backend.create()
    with backend.connected(volume, reconnect=30) as disk, writing(disk) as written:
        before = backend.driver.export(volume, backend.host.connector)
        there = moved(backend, volume)
        assert backend.driver.export(there, backend.host.connector) == before
        patiently(backend.driver.move, there, volume.pool)
    assert_all_there(backend, volume, written)


def test_all_other_calls_name_the_new_pool(backend: Backend) -> None:
    there = moved(backend, backend.create())
    backend.write(there, 1)
    backend.driver.extend(there, 2)
    snapshot = backend.snapshot(there)
    copy = backend.create(snapshot, size=2, pool=there.pool)
    assert backend.reads(copy, 1)
    backend.driver.delete_snapshot(snapshot)
    for volume in (copy, there):
        backend.driver.delete(volume)
    assert backend.driver.inventory() == []
    assert backend.case.leftovers(backend.driver) == []


def test_deleting_in_the_old_pool_touches_nothing(backend: Backend) -> None:
    volume = backend.create()
    there = moved(backend, volume)
    backend.write(there, 1)
    backend.driver.delete(volume)
    assert backend.reads(there, 1)


def test_moving_again_changes_nothing(backend: Backend) -> None:
    volume = backend.create()
    there = moved(backend, volume)
    with backend.connected(there) as disk:
        assert disk.write(1) and disk.flush()
        for driver in (backend.driver, backend.another_process()):
            patiently(driver.move, volume, there.pool)
        assert disk.reads(1) and disk.write(2)
    assert kinds(backend.driver) == [("volume", volume.id)]
    assert backend.reads(there, 2)


def test_a_volume_with_snapshots_is_not_moved(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    with pytest.raises(PermanentError):
        patiently(backend.driver.move, volume, backend.case.other_pool)
    assert backend.reads(volume, 1)
    backend.driver.delete_snapshot(snapshot)
    assert backend.reads(moved(backend, volume), 1)


def test_what_is_gone_or_leads_nowhere_is_not_moved(backend: Backend) -> None:
    volume = backend.create()
    for one, pool in ((a_volume(), backend.case.other_pool), (volume, "no-such-pool")):
        with pytest.raises(PermanentError):
            patiently(backend.driver.move, one, pool)
    assert backend.driver.inventory() == [Item("volume", volume.id, 1, pool="pool")]


def test_a_doubled_move_is_one(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    processes = [backend.driver, backend.another_process()] * 2
    with ThreadPoolExecutor(4) as threads:
        calls = [
            threads.submit(patiently, driver.move, volume, backend.case.other_pool)
            for driver in processes
        ]
    for call in calls:
        call.result()
    assert backend.reads(replace(volume, pool=backend.case.other_pool), 1)
    assert len(backend.driver.inventory()) == 1


def test_one_that_moves_is_always_somewhere(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1, length=8 * MIB)
    seen = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append([item.id for item in backend.driver.inventory()])

    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(look)
        moved(backend, volume)
        done.set()
        looking.result()
    assert seen and all(found == [volume.id] for found in seen)


def move_exported(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    disk = stack.enter_context(backend.connected(volume, reconnect=30))
    assert disk.write(1) and disk.flush()
    there = replace(volume, pool=backend.case.other_pool)

    def holds() -> bool:
        with backend.other_host.open(
            backend.driver.export(there, backend.other_host.connector)
        ) as other:
            written = disk.write(2, offset=65536) and disk.flush()
            return disk.reads(1) and other.reads(1) and written and other.reads(2, offset=65536)

    return Scene("move", (volume, there.pool), holds)


@pytest.mark.parametrize("scene", [move_exported], ids=lambda scene: scene.__name__)
def test_the_next_process_finishes_what_a_killed_one_began(
    backend: Backend, crasher: Crasher, scene: Callable[..., Scene]
) -> None:
    finishes_what_a_killed_one_began(backend, crasher, scene)
