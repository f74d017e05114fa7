"""Copies of the local driver say how far they are, each of the ways in which bytes are copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from breezeblock.drivers.base import Image, TemporaryError
from breezeblock.drivers.local import copies
from breezeblock.drivers.local.layers import run_with_progress
from breezeblock.exports import storage_daemon
from tests.contract.drivers import a_snapshot, a_volume
from tests.contract.hosts import Host
from tests.contract.local_volumes import Start

MIB = 1 << 20


def test_a_conversion_does(tmp_path: Path) -> None:
    told: list[float] = []
    (tmp_path / "raw").write_bytes(os.urandom(8 * MIB))
    convert = ["qemu-img", "convert", "-p", "-f", "raw", "-O", "qcow2"]
    run_with_progress([*convert, str(tmp_path / "raw"), str(tmp_path / "qcow2")], told.append)
    assert told == sorted(told) and told[-1] == 100.0


def test_one_that_fails_says_why(tmp_path: Path) -> None:
    convert = ["qemu-img", "convert", "-p", "-f", "raw", "-O", "qcow2"]
    with pytest.raises(TemporaryError, match="No such file"):
        run_with_progress([*convert, str(tmp_path / "none"), str(tmp_path / "x")], print)


def test_a_copy_of_a_file_does(start: Start, tmp_path: Path) -> None:
    told: list[float] = []
    driver = start(format="raw")
    (tmp_path / "raw").write_bytes(os.urandom(2 * MIB))
    driver._layers.reflinks = False
    with driver._layers.draft("raw") as draft:
        driver._layers.fill(draft, Image(tmp_path / "raw", "raw", 2 * MIB), 1, told.append)
        assert draft.read_bytes()[: 2 * MIB] == (tmp_path / "raw").read_bytes()
        draft.unlink()
    assert told == sorted(told) and told[-1] == 100.0


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_snapshots_clones_and_going_back_do_where_they_copy(
    start: Start, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(copies, "LONGEST_CHAIN", 0)  # each overlay is one too many
    driver, volume = start(format=kind), a_volume()
    driver._layers.reflinks = False
    driver.create(volume, None)
    head = driver._layers.directory / driver._manifests.of(volume.id).head
    with head.open("r+b") as file:
        file.write(os.urandom(2 * MIB))
    snapshot = a_snapshot(volume)
    for copy in (
        lambda told: driver._copies.snapshot(snapshot, told),
        lambda told: driver._copies.create(a_volume(), volume, told),
        lambda told: driver._copies.create(a_volume(), snapshot, told),
        lambda told: driver._copies.revert(volume, snapshot, "turn", told),
    ):
        told: list[float] = []
        copy(told.append)
        assert told == sorted(told) and told[-1] > 0.0


def test_a_storage_daemon_does(
    start: Start, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_daemon, "LOOK_EVERY", 0.0)
    told: list[float] = []
    driver, volume = start(format="raw"), a_volume()
    driver.create(volume, None)
    with host.open(driver.export(volume, host.connector)) as disk:
        for number in range(64):
            assert disk.write(1, offset=number * MIB, length=MIB)
        target = tmp_path / "copy"
        with target.open("wb") as blank:
            blank.truncate(1 << 30)
        image = driver._layers.image(driver._manifests.of(volume.id).head)
        driver._exports.copy(volume.id, image, target, told.append)
    with target.open("rb") as file:
        assert file.read(64 * MIB) == b"\1" * 64 * MIB
    assert told and told == sorted(told) and told[-1] <= 100.0
    driver.unexport(volume, host.name)
    driver.delete(volume)
