"""The local driver when files are lost or damaged: nothing is destroyed, and it says so."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from breezeblock.drivers.base import Item, PermanentError, Volume
from breezeblock.drivers.local import LocalDriver
from tests.contract.drivers import a_snapshot, a_volume
from tests.contract.hosts import Host
from tests.contract.local_volumes import Start, layers, reads, write

MIB = 1 << 20
GIB = 1 << 30


class TestDamage:
    """Somebody else removed or spoilt files in the backend's directory."""

    def test_layers_of_a_lost_manifest_are_set_aside_with_a_warning_and_can_be_put_back(
        self, start: Start, host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        driver = start(format="qcow2")
        volume = a_volume()
        driver.create(volume, None)
        write(driver, host, volume, 7)
        driver.snapshot(a_snapshot(volume))
        driver.close()
        names = [layer.name for layer in layers(driver)]
        lose_manifest(driver, volume, tmp_path)
        with caplog.at_level(logging.WARNING):
            start().close()
        assert layers(driver) == []
        assert set_aside(driver) == names
        assert all(name in caplog.text for name in names)
        assert f"{GIB} bytes" in caplog.text
        start().close()
        assert set_aside(driver) == names, "they stay"

        shutil.copy(tmp_path / "lost.json", manifest_of(driver, volume))
        for name in names:
            (driver.options.path / "lost+found" / name).rename(
                driver.options.path / "layers" / name
            )
        restarted = start(format="qcow2")
        assert reads(restarted, host, volume, 7)
        assert set_aside(driver) == []

    @pytest.mark.parametrize("restarted", [False, True])
    def test_what_a_lost_volume_stands_on_outlives_its_source(
        self, start: Start, tmp_path: Path, restarted: bool
    ) -> None:
        driver = start(format="qcow2")
        source, clone = a_volume(), a_volume()
        driver.create(source, None)
        (content,) = layers(driver)
        driver.create(clone, source)
        lose_manifest(driver, clone, tmp_path)
        if restarted:
            driver = start(format="qcow2")
        driver.delete(source)
        assert list((driver.options.path / "disposable").iterdir()) == []
        start()
        stays = [content] if restarted else []  # or it was set aside together with what it carries
        assert layers(driver) == stays and len(set_aside(driver)) == 2 - len(stays)

    @pytest.mark.parametrize("format", ["raw", "qcow2"])
    def test_nothing_that_was_deleted_is_set_aside(self, start: Start, format: str) -> None:
        driver = start(format=format)
        volume, clone = a_volume(), a_volume()
        driver.create(volume, None)
        snapshot = a_snapshot(volume)
        driver.snapshot(snapshot)
        driver.create(clone, snapshot)
        driver.delete_snapshot(snapshot)
        driver.delete(volume)
        driver.delete(clone)
        start()
        assert layers(driver) == [] and set_aside(driver) == []

    def test_a_deletion_that_died_before_its_commit_leaves_the_volume_as_it_was(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        driver = start(format="qcow2")
        source, clone = a_volume(), a_volume()
        driver.create(source, None)
        driver.create(clone, source)

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(driver._manifests, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            driver.delete(clone)
        start()
        lose_manifest(driver, clone, tmp_path)
        start()
        assert len(set_aside(driver)) == 1, "the mark of the dead deletion did not last"

    def test_a_volume_and_a_snapshot_without_their_files_are_not_listed(self, start: Start) -> None:
        driver = start(format="raw")
        volume, other = a_volume(), a_volume()
        for one in (volume, other):
            driver.create(one, None)
        (head, *_) = set(layers(driver)) - {head_of(driver, other)}
        snapshot = a_snapshot(other)
        before = set(layers(driver))
        driver.snapshot(snapshot)
        (frozen,) = set(layers(driver)) - before
        frozen.unlink()
        head.unlink()
        assert driver.inventory() == [Item("volume", other.id, 1)]

    def test_a_volume_whose_base_is_missing_is_not_listed(self, start: Start) -> None:
        driver = start(format="qcow2")
        source, clone = a_volume(), a_volume()
        driver.create(source, None)
        (content,) = layers(driver)
        driver.create(clone, source)
        content.unlink()
        assert driver.inventory() == []

    def test_the_inventory_tells_the_sizes_that_files_have(self, start: Start) -> None:
        driver = start(format="qcow2")
        source, clone = a_volume(3), a_volume(5)
        driver.create(source, None)
        driver.create(clone, source)
        other = a_volume(4)
        driver.create(other, None)
        os.truncate(head_of(driver, other), 2 * GIB - 1)
        with head_of(driver, clone).open("r+b") as file:
            file.seek(24)
            file.write((4 * GIB + 1).to_bytes(8, "big"))
        assert {item.id: item.size for item in driver.inventory()} == {
            source.id: 3,
            clone.id: 4,
            other.id: 1,
        }

    def test_a_snapshot_of_a_volume_that_grew_has_the_size_it_grew_to(self, start: Start) -> None:
        driver = start(format="qcow2")
        volume = a_volume()
        driver.create(volume, None)
        driver.snapshot(a_snapshot(volume))
        driver.extend(volume, 2)
        grown = a_snapshot(volume)
        driver.snapshot(grown)
        assert Item("snapshot", grown.id, 2, volume.id) in driver.inventory()

    @pytest.mark.parametrize("content", ["{", "", "null", "[]", "{}", '{"size": 1}'])
    def test_a_damaged_manifest_is_named_and_nothing_is_swept(
        self, start: Start, content: str
    ) -> None:
        driver = start()
        volume = a_volume()
        driver.create(volume, None)
        driver.close()
        before = layers(driver)
        path = manifest_of(driver, volume)
        path.write_text(content)
        with pytest.raises(PermanentError) as refused:
            start()
        assert str(path) in str(refused.value)
        assert "Restore" in refused.value.remedy and "remove" in refused.value.remedy
        assert layers(driver) == before and set_aside(driver) == []


def manifest_of(driver: LocalDriver, volume: Volume) -> Path:
    return driver.options.path / "manifests" / f"{volume.id}.json"


def lose_manifest(driver: LocalDriver, volume: Volume, directory: Path) -> None:
    manifest_of(driver, volume).rename(directory / "lost.json")


def head_of(driver: LocalDriver, volume: Volume) -> Path:
    return driver.options.path / "layers" / driver._manifests.of(volume.id).head


def set_aside(driver: LocalDriver) -> list[str]:
    return sorted(path.name for path in (driver.options.path / "lost+found").glob("*"))
