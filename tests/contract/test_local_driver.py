"""What only the local driver promises: its options, its file formats, its clearing up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import (
    BackendConfig,
    Item,
    PermanentError,
    StillWorking,
    TemporaryError,
)
from breezeblock.drivers.local import LocalDriver
from breezeblock.drivers.patience import LongCalls, Told
from tests.contract.drivers import a_snapshot, a_volume
from tests.contract.hosts import Host
from tests.contract.local_volumes import Start, layers, reads, taken, write

MIB = 1 << 20
GIB = 1 << 30


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"pth": "/x"}, "pth"),
            ({"path": 3}, "path"),
            ({"format": "vmdk"}, "format"),
            ({"pool": ""}, "pool"),
            ({"capacity_gb": "10"}, "capacity_gb"),
            ({"capacity_gb": True}, "capacity_gb"),
            ({"capacity_gb": float("nan")}, "capacity_gb"),
            ({"max_over_subscription_ratio": 0.5}, "max_over_subscription_ratio"),
            ({"reserved_percentage": -1}, "reserved_percentage"),
            ({"nbd_listen": "tcp://0.0.0.0"}, "nbd_listen"),
            ({"nbd_listen": "tcp://localhost"}, "nbd_listen"),
            ({"nbd_listen": "tcp://127.0.0.1:2-1"}, "nbd_listen"),
            ({"nbd_listen": "udp://127.0.0.1"}, "nbd_listen"),
            ({"qcow2_write_back": "yes"}, "qcow2_write_back"),
        ],
    )
    def test_a_bad_option_is_named(
        self, tmp_path: Path, options: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(ValueError, match=named):
            LocalDriver(BackendConfig("local", "here", tmp_path, options))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("unix", ("", 10809, 14904)),
            ("tcp://10.0.0.1", ("10.0.0.1", 10809, 14904)),
            ("tcp://10.0.0.1:700", ("10.0.0.1", 700, 700)),
            ("tcp://10.0.0.1:700-800", ("10.0.0.1", 700, 800)),
            ("tcp://[fd00::1]", ("fd00::1", 10809, 14904)),
            ("tcp://[fd00::1]:700-800", ("fd00::1", 700, 800)),
        ],
    )
    def test_where_to_listen(self, tmp_path: Path, text: str, parts: tuple[str, int, int]) -> None:
        config = BackendConfig("local", "here", tmp_path, {"nbd_listen": text})
        listen = LocalDriver(config).options.nbd_listen
        assert (listen.address, listen.first, listen.last) == parts

    def test_the_report_says_what_was_configured(self, start: Start) -> None:
        told = {
            "pool": "fast",
            "volume_backend_name": "ssd",
            "reserved_percentage": 5,
            "max_over_subscription_ratio": "auto",
            "filter_function": "volume.size < 10",
            "goodness_function": "50",
        }
        stats = start(**told).stats()
        pool = stats.pools[0]
        assert stats.extra["volume_backend_name"] == "ssd"
        assert pool.name == "fast"
        assert pool.reserved_percentage == 5
        assert pool.max_over_subscription_ratio == "auto"
        assert pool.thin_provisioning_support and pool.multiattach
        assert pool.extra == {"filter_function": "volume.size < 10", "goodness_function": "50"}


class TestCapacity:
    def test_a_limit_counts_as_the_size(self, start: Start, host: Host) -> None:
        driver = start(capacity_gb=1.25)
        volume = a_volume()
        driver.create(volume, None)
        write(driver, host, volume, 1, length=256 * MIB)
        pool = driver.stats().pools[0]
        assert (pool.total_capacity_gb, pool.free_capacity_gb) == (1.25, 1.0)

    def test_no_more_is_promised_than_the_ratio_allows(self, start: Start) -> None:
        driver = start(capacity_gb=2, max_over_subscription_ratio=2)
        volume = a_volume(3)
        driver.create(volume, None)
        refusals: tuple[Callable[[], None], ...] = (
            partial(driver.create, a_volume(2), None),
            partial(driver.create, a_volume(3), volume),
            partial(driver.extend, volume, 5),
        )
        for refused in refusals:
            with pytest.raises(PermanentError) as error:
                refused()
            assert "max_over_subscription_ratio" in error.value.remedy
        driver.create(a_volume(1), None)
        assert driver.stats().pools[0].provisioned_capacity_gb == 4

    def test_an_empty_volume_takes_no_space(self, start: Start) -> None:
        driver = start()
        driver.create(a_volume(100), None)
        assert taken(driver) < MIB


def test_exports_are_listed_while_their_daemon_is_down(start: Start, host: Host) -> None:
    driver = start()
    volume = a_volume()
    driver.create(volume, None)
    driver.export(volume, host.connector)
    driver.stop_all()
    assert Item("export", volume.id, host=host.name) in driver.inventory()


class TestWithoutQemu:
    """Its programs are not on the PATH."""

    @pytest.fixture(autouse=True)
    def no_programs(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

    def test_volumes_are_made_grown_copied_and_deleted(
        self, start: Start, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        driver = start()
        volume, copy, clone = a_volume(), a_volume(2), a_volume()
        driver.create(volume, None)
        layers(driver)[0].open("r+b").write(b"\7" * MIB)
        snapshot = a_snapshot(volume)
        driver.snapshot(snapshot)
        driver.create(copy, snapshot)
        driver.create(clone, volume)
        driver.extend(volume, 3)
        assert sorted(item.size or 0 for item in driver.inventory()) == [1, 1, 2, 3]
        assert taken(driver) <= 5 * MIB, "holes were not kept"
        monkeypatch.undo()
        for one in (volume, copy, clone):
            assert reads(driver, host, one, 7, length=MIB)
            assert reads(driver, host, one, 0, offset=MIB)
        driver.delete_snapshot(snapshot)
        for one in (volume, copy, clone):
            driver.delete(one)
        assert layers(driver) == []

    def test_exporting_says_what_to_install(self, start: Start) -> None:
        driver = start()
        volume = a_volume()
        driver.create(volume, None)
        with pytest.raises(PermanentError) as refused:
            driver.export(volume, {"host": "host-a"})
        assert "apt-get install qemu-utils qemu-system-common" in refused.value.remedy
        driver.unexport(volume, "host-a")
        assert [item.kind for item in driver.inventory()] == ["volume"]
        driver.delete(volume)

    def test_what_cannot_be_done_with_overlays_says_what_to_install(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.undo()
        driver = start(format="qcow2")
        volume, clone = a_volume(), a_volume()
        driver.create(volume, None)
        driver.create(clone, volume)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(PermanentError) as refused:
            driver.extend(clone, 2)
        assert "apt-get install" in refused.value.remedy
        driver.delete(clone)
        driver.delete(volume)
        assert layers(driver) == []


class TestLayers:
    def test_a_chain_does_not_grow_for_ever(self, start: Start, host: Host) -> None:
        driver = start(format="qcow2")
        volume = a_volume()
        driver.create(volume, None)
        for generation in range(1, 20):
            write(driver, host, volume, generation, offset=generation * MIB)
            clone = a_volume()
            driver.create(clone, volume)
            driver.delete(volume)
            volume = clone
        assert len(layers(driver)) <= 17
        with host.open(driver.export(volume, host.connector)) as disk:
            assert all(disk.reads(one, offset=one * MIB) for one in range(1, 20))

    def test_a_volume_does_not_pile_up_its_past(self, start: Start, host: Host) -> None:
        driver = start(format="qcow2")
        volume = a_volume()
        driver.create(volume, None)
        for generation in range(1, 20):
            write(driver, host, volume, generation, offset=generation * MIB)
            snapshot = a_snapshot(volume)
            driver.snapshot(snapshot)
            driver.delete_snapshot(snapshot)
        assert len(layers(driver)) <= 17
        with host.open(driver.export(volume, host.connector)) as disk:
            assert all(disk.reads(one, offset=one * MIB) for one in range(1, 20))

    def test_copies_of_an_unchanged_volume_share_one_layer(self, start: Start) -> None:
        driver = start(format="qcow2")
        volume = a_volume()
        driver.create(volume, None)
        for _ in range(5):
            driver.create(a_volume(), volume)
            driver.snapshot(a_snapshot(volume))
        assert len(layers(driver)) == 1 + 1 + 5  # the content, the volume's head, five copies'

    @pytest.mark.parametrize("formats", [("raw", "qcow2"), ("qcow2", "raw")])
    def test_the_format_may_be_changed(
        self, start: Start, host: Host, formats: tuple[str, str]
    ) -> None:
        before = start(format=formats[0])
        volume, copy = a_volume(), a_volume()
        before.create(volume, None)
        write(before, host, volume, 1)
        snapshot = a_snapshot(volume)
        before.snapshot(snapshot)
        write(before, host, volume, 2)
        before.create(copy, volume)
        before.close()

        after = start(format=formats[1])
        later = a_snapshot(copy)
        after.snapshot(later)
        write(after, host, copy, 3)
        for source, byte in ((volume, 2), (snapshot, 1), (copy, 3), (later, 2)):
            new = a_volume(2)
            after.create(new, source)
            assert reads(after, host, new, byte)
            assert reads(after, host, new, 0, offset=GIB)
            after.extend(new, 3)
            assert reads(after, host, new, 0, offset=2 * GIB)

    def test_a_sweep_leaves_alone_what_is_being_made(self, start: Start) -> None:
        driver, other = start(), start()
        with driver._layers.draft("raw") as draft:
            volume = a_volume()
            other.create(volume, None)
            snapshot = a_snapshot(volume)
            other.snapshot(snapshot)
            other.delete_snapshot(snapshot)
            start()
            assert draft.exists()
        start()
        assert not draft.exists()

    def test_a_directory_that_is_not_mounted_is_noticed(self, start: Start, tmp_path: Path) -> None:
        driver = start(path=str(tmp_path / "mount"))
        driver.create(a_volume(), None)
        driver.close()
        (tmp_path / "mount").rename(tmp_path / "away")
        with pytest.raises(PermanentError) as refused:
            start(path=str(tmp_path / "mount"))
        assert "Mount" in refused.value.remedy


class TestLongCalls:
    def test_a_call_that_takes_long_goes_on_in_the_background(self) -> None:
        calls, runs = LongCalls(patience=0.01), []
        begun, finish = threading.Event(), threading.Event()

        def copy(told: Told) -> None:
            runs.append(1)
            told(41.7)
            begun.set()
            finish.wait()

        for _ in range(2):
            with pytest.raises(StillWorking) as working:
                calls.run("volume", copy)
            begun.wait()
        assert working.value.progress == 41
        finish.set()
        LongCalls.run(calls, "other", lambda _told: None)
        while True:
            try:
                calls.run("volume", copy)
                break
            except TemporaryError:
                continue
        assert runs == [1]

    def test_its_error_reaches_the_caller_and_is_not_kept(self) -> None:
        calls = LongCalls(patience=30)

        def fail(_told: Told) -> None:
            raise PermanentError("no")

        with pytest.raises(PermanentError):
            calls.run("volume", fail)
        calls.run("volume", lambda _told: None)


def test_a_volume_takes_any_type_and_stays_what_it_is(start: Start, host: Host) -> None:
    driver, volume = start(), a_volume()
    driver.create(volume, None)
    write(driver, host, volume, 1)
    driver.retype(replace(volume, extra_specs={"tier": "gold"}, qos={"total_iops_sec": "9"}))
    assert reads(driver, host, volume, 1)
    with pytest.raises(PermanentError):
        driver.retype(a_volume())
