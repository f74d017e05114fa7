"""The driver contract, `readable`: QEMU reads the volume's content on this host."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from breezeblock.drivers.base import PermanentError, Volume
from breezeblock.images import qemu_img
from tests.contract.drivers import Backend, a_volume

MIB = 1 << 20


def content(backend: Backend, volume: Volume, directory: Path) -> bytes:
    """The volume's first bytes, as qemu-img reads them."""
    target = directory / "read.raw"
    _qemu_img(backend, volume, "convert", "-O", "raw", after=(str(target),))
    backend.driver.done_reading(volume)
    with target.open("rb") as file:
        return file.read(MIB)


def _qemu_img(backend: Backend, volume: Volume, *command: str, after: tuple[str, ...] = ()) -> str:
    """Run the command on the volume; what it prints."""
    found = backend.driver.readable(volume)
    assert backend.driver.readable(volume) == found
    node = json.dumps({"driver": "raw", "file": dict(found.node)})
    with qemu_img.objects(found.secrets) as objects:
        words = ["qemu-img", command[0], *objects, *command[1:], f"json:{node}", *after]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("kind", ["volume", "clone", "snapshotted", "reverted"])
def test_qemu_reads_what_hosts_have_written(backend: Backend, tmp_path: Path, kind: str) -> None:
    volume = backend.create()
    backend.write(volume, 1, length=MIB)
    if kind == "clone":
        volume = backend.create(volume)
    elif kind != "volume":
        snapshot = backend.snapshot(volume)
        if kind == "reverted":
            backend.write(volume, 2, length=MIB)
            backend.driver.revert(volume, snapshot, turn="one")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert content(backend, volume, scratch) == b"\1" * MIB
    (scratch / "read.raw").unlink()
    backend.write(volume, 3, length=MIB)
    assert content(backend, volume, scratch) == b"\3" * MIB


def test_it_has_the_size_of_the_volume(backend: Backend) -> None:
    volume = backend.create(backend.create(), size=2)
    told = json.loads(_qemu_img(backend, volume, "info", "--output=json"))
    assert told["virtual-size"] == 2 << 30


def test_what_a_host_can_write_to_or_what_is_gone_is_not_read(backend: Backend) -> None:
    volume = backend.create()
    with backend.connected(volume), pytest.raises(PermanentError):
        backend.driver.readable(volume)
    assert backend.driver.readable(volume)
    with pytest.raises(PermanentError):
        backend.driver.readable(a_volume())
    backend.driver.done_reading(a_volume())
