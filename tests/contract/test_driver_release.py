"""The driver contract, `release` and `release_snapshot`: ours no more, and the bytes stay."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from breezeblock.drivers.base import PermanentError
from tests.contract.crashing import Crasher
from tests.contract.drivers import Backend
from tests.contract.scenes import Scene, finishes_what_a_killed_one_began, kinds


def test_a_released_volume_is_in_no_inventory_and_nobody_reaches_it(backend: Backend) -> None:
    volume = backend.create()
    info = backend.driver.export(volume, backend.host.connector)
    with backend.host.open(info) as disk:
        assert disk.write(1)
        backend.driver.release(volume)
        assert disk.write(2) != backend.case.fences
    assert backend.host.refused(info)
    assert backend.driver.inventory() == []


def test_releasing_again_and_deleting_afterwards_change_nothing(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    backend.driver.release(volume)
    left = backend.case.leftovers(backend.driver)
    for driver in (backend.driver, backend.another_process()):
        driver.release(volume)
        driver.unexport(volume, "host-a")
        driver.delete(volume)
    assert left
    assert backend.case.leftovers(backend.driver) == left


def test_what_comes_late_neither_makes_nor_exports_it(backend: Backend) -> None:
    volume = backend.create()
    snapshot = backend.snapshot(volume)
    backend.driver.release_snapshot(snapshot)
    with pytest.raises(PermanentError):
        backend.driver.snapshot(snapshot)
    backend.driver.release(volume)
    for late in (
        lambda: backend.driver.create(volume, None),
        lambda: backend.driver.export(volume, backend.host.connector),
        lambda: backend.driver.extend(volume, 2),
        lambda: backend.driver.snapshot(snapshot),
    ):
        with pytest.raises(PermanentError):
            late()
    assert backend.driver.inventory() == []


def test_what_it_promised_is_not_counted_any_more(backend: Backend) -> None:
    before = backend.driver.stats().pools[0].provisioned_capacity_gb
    volume = backend.create(size=2)
    backend.driver.release(volume)
    assert backend.driver.stats().pools[0].provisioned_capacity_gb == before


def test_a_volume_with_snapshots_is_not_released(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    backend.snapshot(volume)
    before = kinds(backend.driver)
    with pytest.raises(PermanentError):
        backend.driver.release(volume)
    assert kinds(backend.driver) == before
    assert backend.reads(volume, 1)


def test_a_released_snapshot_is_in_no_inventory_and_its_volume_goes_on(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    for driver in (backend.driver, backend.another_process()):
        driver.release_snapshot(snapshot)
        driver.delete_snapshot(snapshot)
    assert kinds(backend.driver) == [("volume", volume.id)]
    assert backend.reads(volume, 1)
    backend.write(volume, 2)
    later = backend.snapshot(volume)
    assert backend.reads(backend.create(later), 2)
    with pytest.raises(PermanentError):
        backend.driver.revert(volume, snapshot, turn="one")


def test_copies_of_what_was_released_live_on(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    copy, clone = backend.create(snapshot), backend.create(volume)
    backend.driver.release_snapshot(snapshot)
    backend.driver.release(volume)
    assert backend.reads(copy, 1) and backend.reads(clone, 1)
    backend.driver.delete(clone)
    backend.another_process()
    assert backend.reads(copy, 1)


def release(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create(backend.create())
    backend.driver.export(volume, backend.host.connector)

    def holds() -> bool:
        return volume.id not in {item.id for item in backend.driver.inventory()}

    return Scene("release", (volume,), holds, stays=True)


def release_snapshot(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)

    def holds() -> bool:
        gone = snapshot.id not in {item.id for item in backend.driver.inventory()}
        return gone and backend.reads(volume, 1)

    return Scene("release_snapshot", (snapshot,), holds, stays=True)


@pytest.mark.parametrize("scene", [release, release_snapshot], ids=lambda scene: scene.__name__)
def test_the_next_process_finishes_what_a_killed_one_began(
    backend: Backend, crasher: Crasher, scene: Callable[..., Scene]
) -> None:
    finishes_what_a_killed_one_began(backend, crasher, scene)
