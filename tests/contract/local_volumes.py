"""Volumes of the local driver as its own tests look at them: through an export, and as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from breezeblock.drivers.base import Volume
from breezeblock.drivers.local import LocalDriver
from tests.contract.hosts import Host

Start = Callable[..., LocalDriver]
"""Starts a process of one backend; the `start` fixture."""


def write(driver: LocalDriver, host: Host, volume: Volume, byte: int, **place: int) -> None:
    with host.open(driver.export(volume, host.connector)) as disk:
        assert disk.write(byte, **place) and disk.flush()
    driver.unexport(volume, host.name)


def reads(driver: LocalDriver, host: Host, volume: Volume, byte: int, **place: int) -> bool:
    with host.open(driver.export(volume, host.connector)) as disk:
        same = disk.reads(byte, **place)
    driver.unexport(volume, host.name)
    return same


def layers(driver: LocalDriver) -> list[Path]:
    return sorted((driver.options.path / "layers").iterdir())


def taken(driver: LocalDriver) -> int:
    """Bytes that the layers take on the disk."""
    return sum(layer.stat().st_blocks * 512 for layer in layers(driver))
