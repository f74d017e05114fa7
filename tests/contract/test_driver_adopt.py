"""The driver contract, `adopt` and its kin: what the storage holds already becomes ours."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from breezeblock.drivers.base import Item, Manageable, PermanentError, Snapshot, Volume
from tests.contract.crashing import Crasher
from tests.contract.drivers import Backend, a_snapshot, a_volume, having
from tests.contract.scenes import Scene, finishes_what_a_killed_one_began, kinds

GIB = 1 << 30
MIB = 1 << 20

pytestmark = pytest.mark.parametrize(
    "backend", having("adopt"), ids=lambda case: case.name, indirect=True
)


def a_stranger(backend: Backend, size: int = GIB, pool: str = "pool") -> Mapping[str, str]:
    """A volume that an administrator made on the storage."""
    assert backend.case.stranger is not None
    return backend.case.stranger(backend.driver, pool, f"stranger-{uuid.uuid4().hex}", size)


def released(backend: Backend, byte: int) -> Manageable:
    """A volume with data that was ours, as the list of what could be adopted shows it."""
    volume = backend.create()
    backend.write(volume, byte, length=MIB)
    before = [one.reference for one in backend.driver.manageable() if not one.managed]
    backend.driver.release(volume)
    now = [one for one in backend.driver.manageable() if not one.managed]
    (found,) = [one for one in now if one.reference not in before]
    return found


def released_snapshot(backend: Backend, volume: Volume) -> Manageable:
    snapshot = backend.snapshot(volume)
    backend.driver.release_snapshot(snapshot)
    (found,) = [one for one in backend.driver.manageable_snapshots() if not one.managed]
    return found


class TestLists:
    def test_it_shows_ours_and_those_that_could_become_so(self, backend: Backend) -> None:
        volume = backend.create(size=2)
        stranger = a_stranger(backend, 3 * GIB - 65536)
        shown = {one.managed: one for one in backend.driver.manageable()}
        assert shown[volume.id].size == 2 and shown[volume.id].reason
        found = shown[None]
        assert (found.reference, found.size, found.pool, found.reason) == (stranger, 3, "pool", "")

    def test_it_shows_snapshots_with_their_volumes(self, backend: Backend) -> None:
        volume = backend.create()
        ours = backend.snapshot(volume)
        free = released_snapshot(backend, volume)
        (reference,) = [one.reference for one in backend.driver.manageable()]
        shown = {one.managed: one for one in backend.driver.manageable_snapshots()}
        assert set(shown) == {None, ours.id}
        assert shown[ours.id].reason and not free.reason
        for one in shown.values():
            assert (one.size, one.pool, one.volume_reference) == (1, "pool", reference)

    def test_snapshots_are_no_volumes(self, backend: Backend) -> None:
        volume = backend.create()
        backend.snapshot(volume)
        released_snapshot(backend, volume)
        assert [one.managed for one in backend.driver.manageable()] == [volume.id]

    def test_what_hosts_reach_already_says_so(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume):
            (shown,) = backend.driver.manageable()
        assert shown.managed == volume.id and shown.reason


class TestVolumes:
    def test_an_adopted_volume_holds_what_it_held(self, backend: Backend) -> None:
        found = released(backend, 7)
        volume = a_volume()
        assert not found.reason
        assert backend.driver.adopt(volume, found.reference) == found.size == 1
        assert backend.reads(volume, 7, length=MIB)
        assert kinds(backend.driver) == [("volume", volume.id)]

    def test_its_size_is_a_whole_number_of_gib(self, backend: Backend) -> None:
        volume = a_volume(7)
        reference = a_stranger(backend, 2 * GIB + 65536)
        assert backend.driver.adopt(volume, reference) == 3
        (item,) = backend.driver.inventory()
        assert item == Item("volume", volume.id, 3, pool=item.pool)
        assert item.pool in ("pool", "")
        with backend.connected(volume) as disk:
            assert disk.gib == 3
            assert disk.write(9, offset=3 * GIB - 65536)

    def test_it_lives_as_one_that_was_made_here(self, backend: Backend) -> None:
        volume = a_volume()
        backend.driver.adopt(volume, a_stranger(backend))
        backend.write(volume, 1)
        snapshot = backend.snapshot(volume)
        backend.write(volume, 2)
        copy = backend.create(snapshot)
        backend.driver.extend(volume, 2)
        assert backend.reads(copy, 1) and backend.reads(volume, 2)
        backend.driver.delete_snapshot(snapshot)
        for one in (copy, volume):
            backend.driver.delete(one)
        assert backend.driver.inventory() == []
        assert backend.case.leftovers(backend.driver) == []

    def test_adopting_again_changes_nothing_also_in_use(self, backend: Backend) -> None:
        volume, reference = a_volume(), a_stranger(backend, GIB + 65536)
        assert backend.driver.adopt(volume, reference) == 2
        with backend.connected(volume) as disk:
            assert disk.write(5) and disk.flush()
            for driver in (backend.driver, backend.another_process()):
                assert driver.adopt(volume, reference) == 2
            assert disk.reads(5) and disk.write(6)
        assert backend.reads(volume, 6)

    def test_adopting_again_after_it_grew_says_what_it_is_now(self, backend: Backend) -> None:
        volume, reference = a_volume(), a_stranger(backend)
        backend.driver.adopt(volume, reference)
        backend.driver.extend(volume, 4)
        assert backend.driver.adopt(volume, reference) == 4

    def test_what_is_ours_is_not_taken_twice(self, backend: Backend) -> None:
        volume = backend.create()
        (shown,) = backend.driver.manageable()
        with pytest.raises(PermanentError):
            backend.driver.adopt(a_volume(), shown.reference)
        taken, reference = a_volume(), a_stranger(backend)
        backend.driver.adopt(taken, reference)
        with pytest.raises(PermanentError):
            backend.driver.adopt(a_volume(), reference)
        ours = sorted([("volume", volume.id), ("volume", taken.id)])
        assert kinds(backend.driver) == ours

    def test_what_is_not_there_or_elsewhere_is_not_taken(self, backend: Backend) -> None:
        place = backend.case.other_pool or "pool"
        elsewhere = "pool" if backend.case.other_pool else "elsewhere"
        reference = a_stranger(backend, pool=place)
        nothing = {key: f"{value}-not" for key, value in reference.items()}
        for pool, asked in (
            (elsewhere, reference),
            (place, nothing),
            (place, {}),
            (place, {"color": "blue"}),
        ):
            with pytest.raises(PermanentError):
                backend.driver.adopt(a_volume(pool=pool), asked)
        assert backend.driver.inventory() == []
        assert backend.driver.adopt(a_volume(pool=place), reference) == 1

    def test_two_that_want_the_same_do_not_both_get_it(self, backend: Backend) -> None:
        reference = a_stranger(backend)
        other = backend.another_process()
        volumes = [a_volume(), a_volume()]
        with ThreadPoolExecutor(2) as threads:
            calls = [
                threads.submit(driver.adopt, volume, reference)
                for driver, volume in zip((backend.driver, other), volumes, strict=True)
            ]
        failed = [call for call in calls if call.exception() is not None]
        assert [type(call.exception()) for call in failed] == [PermanentError]
        assert len(backend.driver.inventory()) == 1

    def test_one_that_was_let_go_again_keeps_its_bytes(self, backend: Backend) -> None:
        found = released(backend, 3)
        for _ in range(2):
            volume = a_volume()
            backend.driver.adopt(volume, found.reference)
            backend.driver.release(volume)
            (found,) = backend.driver.manageable()
        volume = a_volume()
        backend.driver.adopt(volume, found.reference)
        assert backend.reads(volume, 3)


class TestSnapshots:
    def test_an_adopted_snapshot_holds_what_it_held(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 1)
        found = released_snapshot(backend, volume)
        backend.write(volume, 2)
        snapshot = a_snapshot(volume)
        for driver in (backend.driver, backend.another_process()):
            assert driver.adopt_snapshot(snapshot, found.reference) == 1
        assert backend.reads(backend.create(snapshot), 1)
        backend.driver.revert(volume, snapshot, turn="one")
        assert backend.reads(volume, 1)
        backend.driver.delete_snapshot(snapshot)
        assert ("snapshot", snapshot.id) not in kinds(backend.driver)

    def test_it_belongs_to_its_volume_and_is_taken_once(self, backend: Backend) -> None:
        volume = backend.create()
        found = released_snapshot(backend, volume)
        gone = Snapshot(str(uuid.uuid4()), str(uuid.uuid4()), 1, "pool")
        nothing = {key: f"{value}-not" for key, value in found.reference.items()}
        for snapshot, reference in (
            (gone, found.reference),
            (a_snapshot(volume), nothing),
            (a_snapshot(volume), {}),
        ):
            with pytest.raises(PermanentError):
                backend.driver.adopt_snapshot(snapshot, reference)
        taken = a_snapshot(volume)
        backend.driver.adopt_snapshot(taken, found.reference)
        with pytest.raises(PermanentError):
            backend.driver.adopt_snapshot(a_snapshot(volume), found.reference)
        assert [item.id for item in backend.driver.inventory() if item.kind == "snapshot"] == [
            taken.id
        ]


def adopt(backend: Backend, stack: ExitStack) -> Scene:
    found = released(backend, 4)
    volume = a_volume()
    return Scene("adopt", (volume, found.reference), lambda: backend.reads(volume, 4))


def adopt_and_grow(backend: Backend, stack: ExitStack) -> Scene:
    volume = a_volume()

    def holds() -> bool:
        sizes = [item.size for item in backend.driver.inventory() if item.id == volume.id]
        return sizes == [2] and backend.reads(replace(volume, size=2), 0)

    return Scene("adopt", (volume, a_stranger(backend, GIB + 65536)), holds)


def adopt_snapshot(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    backend.write(volume, 1)
    found = released_snapshot(backend, volume)
    backend.write(volume, 2)
    snapshot = a_snapshot(volume)

    def holds() -> bool:
        return backend.reads(backend.create(snapshot), 1)

    return Scene("adopt_snapshot", (snapshot, found.reference), holds)


@pytest.mark.parametrize(
    "scene", [adopt, adopt_and_grow, adopt_snapshot], ids=lambda scene: scene.__name__
)
def test_the_next_process_finishes_what_a_killed_one_began(
    backend: Backend, crasher: Crasher, scene: Callable[..., Scene]
) -> None:
    finishes_what_a_killed_one_began(backend, crasher, scene)
