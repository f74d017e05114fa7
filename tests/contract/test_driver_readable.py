"""The driver contract, `readable`: QEMU reads the volume's content on this host."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from breezeblock.drivers.base import PermanentError, Volume
from tests.contract.drivers import Backend, a_volume

MIB = 1 << 20


def content(backend: Backend, volume: Volume, directory: Path) -> bytes:
    """The volume's first bytes, as qemu-img reads them."""
    target = directory / "read.raw"
    source = json.dumps({"driver": "raw", **_node(backend, volume)})
    command = ["qemu-img", "convert", "-O", "raw", f"json:{source}", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    backend.driver.done_reading(volume)
    with target.open("rb") as file:
        return file.read(MIB)


def _node(backend: Backend, volume: Volume) -> dict[str, object]:
    node = backend.driver.readable(volume)
    assert backend.driver.readable(volume) == node
    return {"file": dict(node)}


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
    node = json.dumps({"driver": "raw", **_node(backend, volume)})
    command = ["qemu-img", "info", "--output=json", f"json:{node}"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert told["virtual-size"] == 2 << 30


def test_what_a_host_can_write_to_or_what_is_gone_is_not_read(backend: Backend) -> None:
    volume = backend.create()
    with backend.connected(volume), pytest.raises(PermanentError):
        backend.driver.readable(volume)
    assert backend.driver.readable(volume)
    with pytest.raises(PermanentError):
        backend.driver.readable(a_volume())
    backend.driver.done_reading(a_volume())
