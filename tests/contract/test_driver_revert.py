"""The driver contract, `revert`: the volume gets back what its snapshot holds, once a turn."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from breezeblock.drivers.base import PermanentError, TemporaryError
from tests.contract.crashing import Crasher
from tests.contract.drivers import Backend, a_snapshot, a_volume
from tests.contract.scenes import Scene, finishes_what_a_killed_one_began, kinds

GIB = 1 << 30
MIB = 1 << 20


def test_a_reverted_volume_holds_what_its_snapshot_holds(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1, length=2 * MIB)
    snapshot = backend.snapshot(volume)
    backend.write(volume, 2, length=MIB)
    backend.write(volume, 3, offset=GIB - MIB, length=MIB)
    backend.driver.revert(volume, snapshot, turn="one")
    with backend.connected(volume) as disk:
        assert disk.gib == 1
        assert disk.reads(1, length=2 * MIB)
        assert disk.reads(0, offset=GIB - MIB, length=MIB)


def test_the_snapshot_stays_and_can_be_reverted_to_again(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    for turn in ("one", "two"):
        backend.write(volume, 2)
        backend.driver.revert(volume, snapshot, turn=turn)
        assert backend.reads(volume, 1)
    assert backend.reads(backend.create(snapshot), 1)
    assert ("snapshot", snapshot.id) in kinds(backend.driver)


def test_a_turn_that_was_served_changes_nothing_when_it_comes_again(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    backend.write(volume, 2)
    backend.driver.revert(volume, snapshot, turn="one")
    with backend.connected(volume) as disk:
        assert disk.write(3) and disk.flush()
        backend.driver.revert(volume, snapshot, turn="one")
        backend.another_process().revert(volume, snapshot, turn="one")
        assert disk.reads(3)
    assert backend.reads(volume, 3)


def test_a_turn_is_remembered_when_others_came_after_it(backend: Backend) -> None:
    volume = backend.create()
    snapshot = backend.snapshot(volume)
    for turn in ("one", "two", "three"):
        backend.driver.revert(volume, snapshot, turn=turn)
    backend.snapshot(volume)
    backend.driver.extend(volume, 2)
    backend.write(volume, 4)
    backend.driver.revert(volume, snapshot, turn="one")
    assert backend.reads(volume, 4)


def test_what_a_host_can_reach_is_not_reverted(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    with backend.connected(volume) as disk:
        assert disk.write(2) and disk.flush()
        with pytest.raises(PermanentError):
            backend.driver.revert(volume, snapshot, turn="late")
        assert disk.reads(2)
    assert backend.reads(volume, 2)


def test_copies_of_what_was_there_before_are_not_harmed(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    backend.write(volume, 2)
    clone = backend.create(volume)
    backend.driver.revert(volume, snapshot, turn="one")
    assert backend.reads(clone, 2)
    assert backend.reads(volume, 1)


def test_later_snapshots_keep_their_content(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    first = backend.snapshot(volume)
    backend.write(volume, 2)
    second = backend.snapshot(volume)
    backend.driver.revert(volume, first, turn="one")
    backend.driver.revert(volume, second, turn="two")
    assert backend.reads(volume, 2)
    backend.driver.delete_snapshot(second)
    backend.driver.revert(volume, first, turn="three")
    assert backend.reads(volume, 1)


def test_nothing_is_stranded(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    backend.write(volume, 2)
    backend.driver.revert(volume, snapshot, turn="one")
    backend.driver.delete_snapshot(snapshot)
    assert backend.reads(volume, 1)
    backend.driver.delete(volume)
    assert backend.driver.inventory() == []
    assert backend.case.leftovers(backend.driver) == []


def test_there_is_no_reverting_to_what_is_not_there_or_of_another_size(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    backend.write(volume, 2)
    backend.driver.extend(volume, 2)
    gone = a_volume()
    for one, other in ((volume, snapshot), (volume, a_snapshot(volume)), (gone, a_snapshot(gone))):
        with pytest.raises(PermanentError):
            backend.driver.revert(one, other, turn="one")
    assert backend.reads(volume, 2)


def test_calls_of_one_turn_at_the_same_time_are_one(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    backend.write(volume, 2)
    processes = [backend.driver, backend.another_process()] * 2
    with ThreadPoolExecutor(4) as threads:
        for driver in processes:
            threads.submit(driver.revert, volume, snapshot, turn="one")
    assert backend.reads(volume, 1)


def test_reverting_while_the_snapshot_goes_ends_in_one_or_the_other(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    backend.write(volume, 2)
    late = backend.another_process()

    def revert() -> None:
        with suppress(PermanentError, TemporaryError):
            late.revert(volume, snapshot, turn="one")

    with ThreadPoolExecutor(2) as threads:
        calls = [
            threads.submit(revert),
            threads.submit(backend.driver.delete_snapshot, snapshot),
        ]
    for call in calls:
        call.result()
    with backend.connected(volume) as disk:
        assert disk.byte_at(0) in (1, 2)
    backend.driver.delete(volume)
    assert backend.case.leftovers(backend.driver) == []


def revert(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    backend.write(volume, 2)

    def holds() -> bool:
        copy = backend.create(snapshot)
        return backend.reads(volume, 1) and backend.reads(copy, 1)

    return Scene("revert", (volume, snapshot), holds, {"turn": "one"})


@pytest.mark.parametrize("scene", [revert], ids=lambda scene: scene.__name__)
def test_the_next_process_finishes_what_a_killed_one_began(
    backend: Backend, crasher: Crasher, scene: Callable[..., Scene]
) -> None:
    finishes_what_a_killed_one_began(backend, crasher, scene)
