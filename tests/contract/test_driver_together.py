"""The driver contract, `snapshot_together`: several volumes as they were at one moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from breezeblock.drivers.base import PermanentError, Snapshot, Volume
from tests.contract.crashing import Crasher
from tests.contract.drivers import Backend, a_snapshot, a_volume, alternating, having
from tests.contract.scenes import Scene, finishes_what_a_killed_one_began, kinds

PLACES = [("pool", "pool"), ("pool", "other"), ("pool", "pool", "other")]

pytestmark = pytest.mark.parametrize(
    "backend", having("snapshot_together"), ids=lambda case: case.name, indirect=True
)


@pytest.fixture(params=PLACES, ids="+".join)
def volumes(request: pytest.FixtureRequest, backend: Backend) -> list[Volume]:
    """Two or three volumes, in one pool or in two."""
    names = {"pool": "pool", "other": backend.case.other_pool}
    return [backend.create(pool=names[place]) for place in request.param]


def together(backend: Backend, volumes: list[Volume]) -> list[Snapshot]:
    snapshots = [a_snapshot(volume) for volume in volumes]
    backend.driver.snapshot_together(snapshots)
    return snapshots


def copies(backend: Backend, snapshots: list[Snapshot]) -> list[Volume]:
    return [backend.create(snapshot, pool=snapshot.pool) for snapshot in snapshots]


def test_each_holds_what_its_volume_held(backend: Backend, volumes: list[Volume]) -> None:
    for byte, volume in enumerate(volumes, 1):
        backend.write(volume, byte)
    snapshots = together(backend, volumes)
    for volume in volumes:
        backend.write(volume, 9)
    for byte, copy in enumerate(copies(backend, snapshots), 1):
        assert backend.reads(copy, byte)
    for volume in volumes:
        assert backend.reads(volume, 9)


def test_no_write_is_in_one_and_missing_in_another(backend: Backend, volumes: list[Volume]) -> None:
    first, last = volumes[0], volumes[-1]
    for _ in range(3):
        with (
            backend.connected(first, reconnect=30) as one,
            backend.connected(last, reconnect=30) as other,
            alternating((one, 0), (other, 0)),
        ):
            snapshots = together(backend, volumes)
        found = []
        for copy in copies(backend, [snapshots[0], snapshots[-1]]):
            with backend.connected(copy) as disk:
                found.append(disk.byte_at(0))
        assert found[1] in (found[0], found[0] - 1)


def test_they_are_snapshots_as_any(backend: Backend, volumes: list[Volume]) -> None:
    for volume in volumes:
        backend.write(volume, 1)
    snapshots = together(backend, volumes)
    for volume, snapshot in zip(volumes, snapshots, strict=True):
        backend.write(volume, 2)
        backend.driver.revert(volume, snapshot, turn=f"turn-{volume.id}")
        assert backend.reads(volume, 1)
    backend.driver.delete_snapshot(snapshots[0])
    assert backend.reads(copies(backend, snapshots[1:])[0], 1)


def test_nothing_is_left_when_they_are_gone(backend: Backend, volumes: list[Volume]) -> None:
    snapshots = together(backend, volumes)
    expected = [("snapshot", one.id) for one in snapshots] + [("volume", v.id) for v in volumes]
    assert kinds(backend.driver) == sorted(expected)
    for snapshot in snapshots:
        backend.driver.delete_snapshot(snapshot)
    for volume in volumes:
        backend.driver.delete(volume)
    assert backend.driver.inventory() == []
    assert backend.case.leftovers(backend.driver) == []


def test_repeating_it_freezes_nothing_newer(backend: Backend, volumes: list[Volume]) -> None:
    for volume in volumes:
        backend.write(volume, 1)
    snapshots = together(backend, volumes)
    for volume in volumes:
        backend.write(volume, 2)
    for driver in (backend.driver, backend.another_process()):
        driver.snapshot_together(snapshots)
        driver.snapshot_together(list(reversed(snapshots)))
        driver.snapshot(snapshots[0])
    for copy in copies(backend, snapshots):
        assert backend.reads(copy, 1)


def test_a_late_one_brings_nothing_back_and_harms_nothing(
    backend: Backend, volumes: list[Volume]
) -> None:
    for volume in volumes:
        backend.write(volume, 1)
    snapshots = together(backend, volumes)
    for volume in volumes:
        backend.write(volume, 2)
    backend.driver.delete_snapshot(snapshots[0])
    with pytest.raises(PermanentError):
        backend.driver.snapshot_together(snapshots)
    assert ("snapshot", snapshots[0].id) not in kinds(backend.driver)
    assert backend.reads(copies(backend, snapshots[1:])[0], 1)


def test_all_or_none(backend: Backend, volumes: list[Volume]) -> None:
    backend.driver.delete(volumes[-1])
    before = kinds(backend.driver)
    with pytest.raises(PermanentError):
        together(backend, volumes)
    with pytest.raises(PermanentError):
        together(backend, [volumes[0], a_volume()])
    assert kinds(backend.driver) == before
    for volume in volumes[:-1]:
        backend.driver.delete(volume)
    assert backend.case.leftovers(backend.driver) == []


def test_one_volume_alone_will_do(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    (snapshot,) = together(backend, [volume])
    backend.write(volume, 2)
    assert backend.reads(copies(backend, [snapshot])[0], 1)


def test_a_doubled_call_is_one(backend: Backend, volumes: list[Volume]) -> None:
    for volume in volumes:
        backend.write(volume, 1)
    snapshots = [a_snapshot(volume) for volume in volumes]
    processes = [backend.driver, backend.another_process()] * 2
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(driver.snapshot_together, snapshots) for driver in processes]
    assert None in [call.exception() for call in calls]
    backend.driver.snapshot_together(snapshots)
    for copy in copies(backend, snapshots):
        assert backend.reads(copy, 1)


def freeze_written(backend: Backend, stack: ExitStack) -> Scene:
    volumes = [backend.create(pool=pool) for pool in ("pool", backend.case.other_pool)]
    one, other = (
        stack.enter_context(backend.connected(volume, reconnect=30)) for volume in volumes
    )
    stack.enter_context(alternating((one, 0), (other, 0)))
    snapshots = [a_snapshot(volume) for volume in volumes]

    def holds() -> bool:
        found = []
        for copy in copies(backend, snapshots):
            with backend.connected(copy) as disk:
                found.append(disk.byte_at(0))
        return found[1] in (found[0], found[0] - 1)

    return Scene("snapshot_together", (snapshots,), holds)


def freeze_in_one_pool(backend: Backend, stack: ExitStack) -> Scene:
    volumes = [backend.create(), backend.create()]
    for volume in volumes:
        backend.write(volume, 1)
    snapshots = [a_snapshot(volume) for volume in volumes]

    def holds() -> bool:
        return all(backend.reads(copy, 1) for copy in copies(backend, snapshots))

    return Scene("snapshot_together", (snapshots,), holds)


@pytest.mark.parametrize(
    "scene", [freeze_written, freeze_in_one_pool], ids=lambda scene: scene.__name__
)
def test_the_next_process_finishes_what_a_killed_one_began(
    backend: Backend, crasher: Crasher, scene: Callable[..., Scene]
) -> None:
    finishes_what_a_killed_one_began(backend, crasher, scene)
