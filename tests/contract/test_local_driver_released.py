"""What the local driver has released: where an operator finds it, and how it goes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import Volume
from breezeblock.drivers.local import LocalDriver
from tests.contract.drivers import a_snapshot, a_volume
from tests.contract.hosts import Host
from tests.contract.local_volumes import Start, layers, reads, write

both_formats = pytest.mark.parametrize("format", ["raw", "qcow2"])


def paper(driver: LocalDriver, ident: str) -> dict[str, Any]:
    """What `released` says of it."""
    path = driver.options.path / "released" / f"{ident}.json"
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def first_byte(driver: LocalDriver, layer: str, directory: Path) -> int:
    """As an operator looks: with qemu-img, by the name of the file."""
    source, copy = driver.options.path / "layers" / layer, directory / "copy.raw"
    command = ["qemu-img", "convert", "-f", source.suffix[1:], "-O", "raw", str(source), str(copy)]
    subprocess.run(command, check=True)
    with copy.open("rb") as file:
        return file.read(1)[0]


def lost(driver: LocalDriver) -> list[str]:
    return sorted(path.name for path in (driver.options.path / "lost+found").glob("*"))


@both_formats
def test_the_paper_of_a_volume_leads_to_its_bytes(
    start: Start, host: Host, tmp_path: Path, format: str
) -> None:
    driver = start(format=format)
    source, clone = a_volume(), a_volume()
    driver.create(source, None)
    write(driver, host, source, 7)
    driver.create(clone, source)
    driver.release(clone)
    driver.delete(source)
    start(format=format)  # sweeps
    told = paper(driver, clone.id)
    assert (told["size"], told["snapshots"]) == (1, {})
    assert first_byte(driver, told["head"], tmp_path) == 7


@both_formats
def test_a_snapshot_outlives_its_volume(
    start: Start, host: Host, tmp_path: Path, format: str
) -> None:
    driver, volume = start(format=format), a_volume()
    driver.create(volume, None)
    write(driver, host, volume, 5)
    snapshot = a_snapshot(volume)
    driver.snapshot(snapshot)
    write(driver, host, volume, 6)
    driver.release_snapshot(snapshot)
    driver.delete(volume)
    start(format=format)
    told = paper(driver, snapshot.id)
    assert first_byte(driver, told["head"], tmp_path) == 5
    assert [layer.name for layer in layers(driver)] == [told["head"]]


def test_without_its_paper_what_nobody_needs_goes_to_lost_and_found(start: Start) -> None:
    driver, volume = start(format="raw"), a_volume()
    driver.create(volume, None)
    driver.release(volume)
    head = paper(driver, volume.id)["head"]
    (driver.options.path / "released" / f"{volume.id}.json").unlink()
    start(format="raw")
    assert (layers(driver), lost(driver)) == ([], [head])


def test_what_a_living_volume_stands_on_stays_without_the_paper(start: Start, host: Host) -> None:
    driver, volume = start(format="qcow2"), a_volume()
    driver.create(volume, None)
    write(driver, host, volume, 5)
    snapshot = a_snapshot(volume)
    driver.snapshot(snapshot)
    driver.release_snapshot(snapshot)
    (driver.options.path / "released" / f"{snapshot.id}.json").unlink()
    again = start(format="qcow2")
    assert lost(driver) == []
    assert reads(again, host, volume, 5)


def test_a_release_that_was_begun_only_leaves_nothing_when_the_snapshot_is_deleted(
    start: Start,
) -> None:
    driver, volume = start(format="qcow2"), Volume(a_volume().id, 1, "pool")
    driver.create(volume, None)
    snapshot = a_snapshot(volume)
    driver.snapshot(snapshot)
    manifest = driver.options.path / "manifests" / f"{volume.id}.json"
    before = manifest.read_bytes()
    driver.release_snapshot(snapshot)
    manifest.write_bytes(before)  # as if it had died before it committed
    assert len(driver.inventory()) == 2
    driver.delete_snapshot(snapshot)
    driver.delete(volume)
    assert layers(driver) == []
    assert list((driver.options.path / "released").iterdir()) == []
