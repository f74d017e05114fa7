"""The driver contract (`drivers/base.py`), held to by every driver in `drivers.CASES`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from breezeblock.drivers.base import Item, PermanentError
from tests.contract.crashing import Crasher
from tests.contract.drivers import (
    Backend,
    a_snapshot,
    a_volume,
    alternating,
    assert_all_there,
    writing,
)
from tests.contract.scenes import Scene, finishes_what_a_killed_one_began, kinds, listed

GIB = 1 << 30
RECONNECT = 30


class TestStats:
    def test_a_backend_reports_a_pool_with_room(self, backend: Backend) -> None:
        stats = backend.driver.stats()
        assert stats.vendor_name and stats.driver_version and stats.storage_protocol
        for pool in stats.pools:
            assert isinstance(pool.total_capacity_gb, float)
            assert isinstance(pool.free_capacity_gb, float)
            assert 0 < pool.free_capacity_gb <= pool.total_capacity_gb

    def test_what_was_promised_is_counted(self, backend: Backend) -> None:
        before = backend.driver.stats().pools[0].provisioned_capacity_gb
        assert before is not None
        volume = backend.create(size=2)
        backend.driver.extend(volume, 5)
        assert backend.driver.stats().pools[0].provisioned_capacity_gb == before + 5


class TestCreate:
    def test_a_new_volume_has_its_size_and_reads_as_zeros(self, backend: Backend) -> None:
        with backend.connected(backend.create(size=2)) as disk:
            assert disk.gib == 2
            assert all(disk.reads(0, offset=at) for at in (0, GIB, 2 * GIB - 65536))

    def test_creating_again_changes_nothing(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 7)
        backend.driver.create(volume, None)
        backend.another_process().create(volume, None)
        assert backend.reads(volume, 7)

    def test_a_volume_from_a_snapshot_holds_the_snapshot(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 1)
        snapshot = backend.snapshot(volume)
        backend.write(volume, 2)
        assert backend.reads(backend.create(snapshot), 1)

    def test_a_clone_holds_its_source(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 3)
        assert backend.reads(backend.create(volume), 3)

    @pytest.mark.parametrize("by_snapshot", [True, False], ids=["snapshot", "volume"])
    def test_source_and_copy_go_their_own_ways(self, backend: Backend, by_snapshot: bool) -> None:
        volume = backend.create()
        backend.write(volume, 1, length=2 << 20)
        copy = backend.create(backend.snapshot(volume) if by_snapshot else volume)
        backend.write(volume, 2, length=1 << 20)
        backend.write(copy, 3, offset=1 << 20, length=1 << 20)
        with backend.connected(volume) as disk:
            assert disk.reads(2, length=1 << 20)
            assert disk.reads(1, offset=1 << 20, length=1 << 20)
        with backend.connected(copy) as disk:
            assert disk.reads(1, length=1 << 20)
            assert disk.reads(3, offset=1 << 20, length=1 << 20)

    @pytest.mark.parametrize("by_snapshot", [True, False], ids=["snapshot", "volume"])
    def test_a_larger_copy_reads_zeros_beyond_its_source(
        self, backend: Backend, by_snapshot: bool
    ) -> None:
        volume = backend.create()
        backend.write(volume, 9, offset=GIB - 65536)
        copy = backend.create(backend.snapshot(volume) if by_snapshot else volume, size=2)
        with backend.connected(copy) as disk:
            assert disk.gib == 2
            assert disk.reads(9, offset=GIB - 65536)
            assert disk.reads(0, offset=GIB, length=16 << 20)
            assert disk.reads(0, offset=2 * GIB - (16 << 20), length=16 << 20)

    def test_an_exported_volume_can_be_cloned(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume, reconnect=RECONNECT) as disk:
            assert disk.write(4)
            clone = backend.create(volume)
            assert disk.write(5)
            assert backend.reads(clone, 4)
            assert disk.reads(5)

    def test_creating_a_copy_again_takes_no_newer_content(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 1)
        clone = backend.create(volume)
        backend.write(volume, 2)
        backend.driver.create(clone, volume)
        assert backend.reads(clone, 1)

    def test_a_copy_of_nothing_fails_for_good_and_leaves_nothing(self, backend: Backend) -> None:
        gone = a_volume()
        for source in (gone, a_snapshot(gone), a_snapshot(backend.create())):
            copy = a_volume()
            before = kinds(backend.driver)
            with pytest.raises(PermanentError):
                backend.driver.create(copy, source)
            backend.driver.delete(copy)
            assert kinds(backend.driver) == before


class TestDelete:
    def test_a_deleted_volume_is_gone(self, backend: Backend) -> None:
        volume = backend.create()
        backend.driver.delete(volume)
        assert backend.driver.inventory() == []
        assert backend.case.leftovers(backend.driver) == []

    def test_deleting_what_is_gone_succeeds(self, backend: Backend) -> None:
        volume = backend.create()
        snapshot = backend.snapshot(volume)
        for _ in range(2):
            backend.driver.delete_snapshot(snapshot)
        for _ in range(2):
            backend.driver.delete(volume)
        backend.driver.delete_snapshot(snapshot)
        backend.driver.delete(a_volume())

    def test_deleting_ends_every_export(self, backend: Backend) -> None:
        volume = backend.create()
        info = backend.driver.export(volume, backend.host.connector)
        backend.driver.export(volume, backend.other_host.connector)
        with backend.host.open(info) as disk:
            backend.driver.delete(volume)
            assert not disk.write(1)
        assert backend.host.refused(info)
        assert backend.driver.inventory() == []

    def test_a_copy_outlives_its_source_and_the_snapshot_between(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 6)
        snapshot = backend.snapshot(volume)
        copy, clone = backend.create(snapshot), backend.create(volume)
        backend.driver.delete_snapshot(snapshot)
        backend.driver.delete(volume)
        assert backend.reads(copy, 6)
        assert backend.reads(clone, 6)

    def test_a_volume_outlives_its_snapshots(self, backend: Backend) -> None:
        volume = backend.create()
        for byte in (1, 2):
            backend.write(volume, byte, offset=byte * 65536)
            backend.driver.delete_snapshot(backend.snapshot(volume))
        assert backend.reads(volume, 1, offset=65536)
        assert backend.reads(volume, 2, offset=2 * 65536)

    def test_nothing_is_stranded_whatever_the_order(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 1)
        snapshot = backend.snapshot(volume)
        copy = backend.create(snapshot, size=2)
        clone = backend.create(copy, size=2)
        for one in (copy, clone):
            backend.driver.delete(one)
        backend.driver.delete_snapshot(snapshot)
        backend.driver.delete(volume)
        assert backend.driver.inventory() == []
        assert backend.case.leftovers(backend.driver) == []


class TestExtend:
    def test_a_grown_volume_keeps_its_content_and_reads_zeros_beyond(
        self, backend: Backend
    ) -> None:
        volume = backend.create()
        backend.write(volume, 8, offset=GIB - 65536)
        backend.driver.extend(volume, 3)
        with backend.connected(replace(volume, size=3)) as disk:
            assert disk.gib == 3
            assert disk.reads(8, offset=GIB - 65536)
            assert disk.reads(0, offset=GIB, length=16 << 20)
            assert disk.reads(0, offset=3 * GIB - (16 << 20), length=16 << 20)

    def test_a_copy_grows_past_its_source(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 8, offset=GIB - 65536)
        copy = backend.create(backend.snapshot(volume))
        backend.driver.extend(copy, 2)
        with backend.connected(copy) as disk:
            assert disk.gib == 2
            assert disk.reads(8, offset=GIB - 65536)
            assert disk.reads(0, offset=GIB, length=16 << 20)
            assert disk.reads(0, offset=2 * GIB - (16 << 20), length=16 << 20)

    def test_a_late_extend_changes_nothing(self, backend: Backend) -> None:
        volume = backend.create()
        backend.driver.extend(volume, 3)
        for size in (3, 2, 1):
            backend.driver.extend(volume, size)
        assert listed(backend.driver) == [Item("volume", volume.id, 3)]
        with backend.connected(volume) as disk:
            assert disk.gib == 3

    def test_hosts_write_on_while_the_volume_grows(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume, reconnect=RECONNECT) as disk, writing(disk) as written:
            for size in (2, 3, 4):
                backend.driver.extend(volume, size)
        assert_all_there(backend, volume, written)
        with backend.connected(volume) as disk:
            assert disk.gib == 4

    def test_there_is_no_growing_of_what_is_gone(self, backend: Backend) -> None:
        with pytest.raises(PermanentError):
            backend.driver.extend(a_volume(), 2)


class TestSnapshot:
    def test_a_snapshot_holds_what_was_acknowledged_before(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume, reconnect=RECONNECT) as disk:
            assert disk.write(1, length=1 << 20)
            snapshot = backend.snapshot(volume)
            assert disk.write(2, length=1 << 20)
            assert disk.reads(2, length=1 << 20)
        assert backend.reads(backend.create(snapshot), 1, length=1 << 20)
        assert backend.reads(volume, 2, length=1 << 20)

    def test_hosts_write_on_while_snapshots_are_taken(self, backend: Backend) -> None:
        volume = backend.create()
        snapshots = []
        with backend.connected(volume, reconnect=RECONNECT) as disk, writing(disk) as written:
            for _ in range(3):
                before = list(written)
                snapshots.append((backend.snapshot(volume), before))
        assert_all_there(backend, volume, written)
        for snapshot, before in snapshots:
            assert_all_there(backend, backend.create(snapshot), before)

    def test_a_snapshot_is_of_one_moment(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume, reconnect=RECONNECT) as disk:
            assert disk.write(255, length=64 << 20)  # copying this takes a while
            with alternating((disk, 0), (disk, GIB - 65536)):
                snapshot = backend.snapshot(volume)
        with backend.connected(backend.create(snapshot)) as disk:
            first, last = disk.byte_at(0), disk.byte_at(GIB - 65536)
        assert last in (first, first - 1)

    def test_repeating_a_snapshot_freezes_nothing_newer(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 1)
        snapshot = backend.snapshot(volume)
        backend.write(volume, 2)
        backend.driver.snapshot(snapshot)
        backend.another_process().snapshot(snapshot)
        assert backend.reads(backend.create(snapshot), 1)

    def test_each_snapshot_keeps_its_own_content(self, backend: Backend) -> None:
        volume = backend.create()
        taken = []
        for byte in (1, 2, 3):
            backend.write(volume, byte)
            taken.append((backend.snapshot(volume), byte))
        backend.driver.delete_snapshot(taken.pop(1)[0])
        for snapshot, byte in taken:
            assert backend.reads(backend.create(snapshot), byte)

    def test_there_is_no_snapshot_of_what_is_gone(self, backend: Backend) -> None:
        with pytest.raises(PermanentError):
            backend.driver.snapshot(a_snapshot(a_volume()))
        assert backend.driver.inventory() == []


class TestExport:
    def test_the_same_host_gets_the_same_answer(self, backend: Backend) -> None:
        volume = backend.create()
        first = backend.driver.export(volume, backend.host.connector)
        assert backend.driver.export(volume, backend.host.connector) == first
        backend.driver.export(volume, backend.other_host.connector)
        backend.snapshot(volume)
        backend.driver.extend(volume, 2)
        assert backend.another_process().export(volume, backend.host.connector) == first

    def test_two_hosts_see_one_volume(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume) as disk:
            other = backend.driver.export(volume, backend.other_host.connector)
            with backend.other_host.open(other) as same:
                assert disk.write(5)
                assert same.reads(5)

    def test_unexporting_cuts_an_open_connection(self, backend: Backend) -> None:
        volume = backend.create()
        info = backend.driver.export(volume, backend.host.connector)
        with backend.host.open(info) as disk:
            assert disk.write(1)
            backend.driver.unexport(volume, backend.host.name)
            assert disk.write(2, offset=65536) != backend.case.fences
        assert backend.host.refused(info) == backend.case.fences
        assert backend.reads(volume, 1)

    def test_unexporting_one_host_leaves_the_other(self, backend: Backend) -> None:
        volume = backend.create()
        info = backend.driver.export(volume, backend.host.connector)
        other = backend.driver.export(volume, backend.other_host.connector)
        with backend.other_host.open(other, reconnect=RECONNECT) as disk:
            assert disk.write(1)
            backend.driver.unexport(volume, backend.host.name)
            assert disk.write(2)
            assert disk.reads(2)
        assert backend.host.refused(info) == backend.case.fences
        assert backend.driver.export(volume, backend.other_host.connector) == other

    def test_unexporting_again_or_from_a_stranger_is_harmless(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume, reconnect=RECONNECT) as disk:
            for _ in range(2):
                backend.driver.unexport(volume, "nobody")
            assert disk.write(1)
        backend.driver.unexport(volume, backend.host.name)
        backend.driver.unexport(a_volume(), backend.host.name)

    def test_a_new_export_does_not_revive_an_old_answer(self, backend: Backend) -> None:
        volume = backend.create()
        old = backend.driver.export(volume, backend.host.connector)
        backend.driver.unexport(volume, backend.host.name)
        new = backend.driver.export(volume, backend.host.connector)
        assert backend.host.refused(old) == backend.case.fences
        assert not backend.host.refused(new)

    def test_exports_outlive_the_process(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume) as disk:
            backend.driver.close()
            assert disk.write(1)
            backend.driver = backend.another_process()
            assert disk.write(2)
            assert Item("export", volume.id, host=backend.host.name) in backend.driver.inventory()
        assert backend.reads(volume, 2)

    def test_a_second_process_disturbs_nobody(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume) as disk:
            for _ in range(3):
                backend.another_process().close()
                assert disk.write(1)

    def test_there_is_no_export_of_what_is_gone(self, backend: Backend) -> None:
        with pytest.raises(PermanentError):
            backend.driver.export(a_volume(), backend.host.connector)
        assert backend.driver.inventory() == []

    def test_a_connector_without_a_host_is_refused(self, backend: Backend) -> None:
        volume = backend.create()
        with pytest.raises(PermanentError):
            backend.driver.export(volume, {"ip": "127.0.0.1"})


class TestInventory:
    def test_it_lists_volumes_snapshots_and_exports(self, backend: Backend) -> None:
        volume = backend.create(size=2)
        snapshot = backend.snapshot(volume)
        backend.driver.extend(volume, 3)
        backend.driver.export(volume, backend.host.connector)
        backend.driver.export(volume, backend.other_host.connector)
        found = listed(backend.another_process())
        assert len(found) == 4
        assert Item("volume", volume.id, 3) in found
        assert Item("snapshot", snapshot.id, 2, volume.id) in found
        assert Item("export", volume.id, host="host-a") in found
        assert Item("export", volume.id, host="host-b") in found

    def test_what_is_taken_back_is_not_listed_any_more(self, backend: Backend) -> None:
        volume = backend.create()
        snapshot = backend.snapshot(volume)
        for host in (backend.host, backend.other_host):
            backend.driver.export(volume, host.connector)
        backend.driver.unexport(volume, backend.host.name)
        backend.driver.delete_snapshot(snapshot)
        assert kinds(backend.another_process()) == [("export", volume.id), ("volume", volume.id)]
        backend.driver.delete(volume)
        assert kinds(backend.another_process()) == [], "its exports go with the volume"

    def test_it_says_in_which_pool_things_are_where_there_are_several(
        self, backend: Backend
    ) -> None:
        backend.snapshot(backend.create())
        pools = {pool.name for pool in backend.driver.stats().pools}
        allowed = pools if len(pools) > 1 else pools | {""}
        found = [item for item in backend.driver.inventory() if item.kind != "export"]
        assert len(found) == 2
        assert {item.pool for item in found} <= allowed


class TestInParallel:
    def test_work_on_different_volumes_goes_on_at_the_same_time(self, backend: Backend) -> None:
        processes = [backend.driver, backend.another_process()]

        def life(number: int) -> bool:
            driver = processes[number % 2]
            volume, copy = a_volume(), a_volume()
            driver.create(volume, None)
            info = driver.export(volume, backend.host.connector)
            with backend.host.open(info, reconnect=RECONNECT) as disk:
                written = disk.write(number + 1)
                snapshot = a_snapshot(volume)
                driver.snapshot(snapshot)
            driver.create(copy, snapshot)
            info = driver.export(copy, backend.host.connector)
            with backend.host.open(info, reconnect=RECONNECT) as disk:
                read: bool = disk.reads(number + 1)
            driver.delete(copy)
            driver.delete_snapshot(snapshot)
            driver.delete(volume)
            return written and read

        with ThreadPoolExecutor(6) as threads:
            assert all(threads.map(life, range(6)))
        assert backend.driver.inventory() == []
        assert backend.case.leftovers(backend.driver) == []

    def test_many_copies_of_one_source_at_the_same_time(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 5)
        copies = [a_volume() for _ in range(6)]
        processes = [backend.driver, backend.another_process()]
        with ThreadPoolExecutor(6) as threads:
            for number, copy in enumerate(copies):
                threads.submit(processes[number % 2].create, copy, volume)
        assert all(backend.reads(copy, 5) for copy in copies)

    def test_a_doubled_call_makes_one_volume(self, backend: Backend) -> None:
        source = backend.create()
        backend.write(source, 5)
        copy = a_volume()
        processes = [backend.driver, backend.another_process()] * 2
        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(driver.create, copy, source) for driver in processes]
        for call in calls:
            call.result()
        assert backend.reads(copy, 5)
        backend.driver.delete(copy)
        backend.driver.delete(source)
        assert backend.case.leftovers(backend.driver) == []

    def test_late_calls_on_one_volume_do_no_harm(self, backend: Backend) -> None:
        volume = backend.create()
        late = backend.another_process()
        with backend.connected(volume, reconnect=RECONNECT) as disk, writing(disk) as written:
            snapshots = [a_snapshot(volume) for _ in range(3)]
            with ThreadPoolExecutor(4) as threads:
                for size, snapshot in zip((2, 3, 4), snapshots, strict=True):
                    threads.submit(backend.driver.extend, volume, size)
                    threads.submit(backend.driver.snapshot, snapshot)
                    threads.submit(late.snapshot, snapshot)
                    threads.submit(late.delete_snapshot, snapshot)
        assert_all_there(backend, volume, written)
        with backend.connected(volume) as disk:
            assert disk.gib == 4


def create_empty(backend: Backend, stack: ExitStack) -> Scene:
    volume = a_volume()
    return Scene("create", (volume, None), lambda: backend.reads(volume, 0))


def create_from_snapshot(backend: Backend, stack: ExitStack) -> Scene:
    source = backend.create()
    backend.write(source, 1)
    snapshot = backend.snapshot(source)
    volume = a_volume(2)
    return Scene("create", (volume, snapshot), lambda: backend.reads(volume, 1))


def clone_exported(backend: Backend, stack: ExitStack) -> Scene:
    source, volume = backend.create(), a_volume()
    disk = stack.enter_context(backend.connected(source, reconnect=RECONNECT))
    assert disk.write(1)

    def holds() -> bool:
        written = disk.write(2, offset=65536) and disk.reads(1) and disk.reads(2, offset=65536)
        return written and backend.reads(volume, 1) and backend.reads(volume, 0, offset=65536)

    return Scene("create", (volume, source), holds)


def delete_exported(backend: Backend, stack: ExitStack) -> Scene:
    source = backend.create()
    volume = backend.create(source)
    info = backend.driver.export(volume, backend.host.connector)

    def holds() -> bool:
        return backend.host.refused(info) and kinds(backend.driver) == [("volume", source.id)]

    return Scene("delete", (volume,), holds)


def extend_exported(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    disk = stack.enter_context(backend.connected(volume, reconnect=RECONNECT))
    assert disk.write(1)

    def holds() -> bool:
        with backend.other_host.open(
            backend.driver.export(volume, backend.other_host.connector)
        ) as grown:
            written = disk.write(2, offset=65536) and disk.reads(2, offset=65536)
            return grown.gib == 2 and grown.reads(1) and written

    return Scene("extend", (volume, 2), holds)


def snapshot_exported(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    disk = stack.enter_context(backend.connected(volume, reconnect=RECONNECT))
    assert disk.write(1)
    snapshot = a_snapshot(volume)

    def holds() -> bool:
        written = disk.write(2, offset=65536) and disk.reads(1) and disk.reads(2, offset=65536)
        copy = backend.create(snapshot)
        return written and backend.reads(copy, 1) and backend.reads(copy, 0, offset=65536)

    return Scene("snapshot", (snapshot,), holds)


def delete_snapshot(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    backend.write(volume, 1)
    snapshot = backend.snapshot(volume)
    return Scene("delete_snapshot", (snapshot,), lambda: backend.reads(volume, 1))


def export(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    arguments = (volume, backend.host.connector)
    return Scene("export", arguments, lambda: backend.reads(volume, 0))


def unexport_one_of_two(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    info = backend.driver.export(volume, backend.other_host.connector)
    cut = stack.enter_context(backend.other_host.open(info))
    disk = stack.enter_context(backend.connected(volume, reconnect=RECONNECT))
    assert cut.write(1)

    def holds() -> bool:
        fences = backend.case.fences
        gone = cut.write(2, offset=2 * 65536) != fences
        return (
            gone
            and backend.other_host.refused(info) == fences
            and disk.reads(1)
            and disk.write(3, offset=65536)
        )

    return Scene("unexport", (volume, backend.other_host.name), holds)


SCENES = [
    create_empty,
    create_from_snapshot,
    clone_exported,
    delete_exported,
    extend_exported,
    snapshot_exported,
    delete_snapshot,
    export,
    unexport_one_of_two,
]


class TestCrash:
    """A process dies before one of its effects; another repeats the call, and nothing is amiss."""

    @pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
    def test_the_next_process_finishes_what_a_killed_one_began(
        self, backend: Backend, crasher: Crasher, scene: Callable[..., Scene]
    ) -> None:
        finishes_what_a_killed_one_began(backend, crasher, scene)
