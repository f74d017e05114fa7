"""The local driver, with calls that stand still: for tests that stop a process amid its work.

It is found as any foreign driver is, by an entry point; `install` makes one for a process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from breezeblock.drivers.base import ConnectionInfo, Source, Volume
from breezeblock.drivers.local import LocalDriver

REPOSITORY = Path(__file__).parents[2]


class SlowDriver(LocalDriver):
    """A file SLOW/create or SLOW/export has one such call stand still on its thread for as many
    seconds as it says; whoever stands has removed it."""

    def create(self, volume: Volume, source: Source) -> None:
        _stand_still("create")
        super().create(volume, source)

    def export(
        self, volume: Volume, connector: Mapping[str, Any], *, mode: Literal["rw", "ro"] = "rw"
    ) -> ConnectionInfo:
        _stand_still("export")
        return super().export(volume, connector, mode=mode)


def _stand_still(verb: str) -> None:
    asked, taken = Path(os.environ["SLOW"], verb), Path(os.environ["SLOW"], f"{verb}.{os.getpid()}")
    try:
        asked.rename(taken)
    except FileNotFoundError:
        return
    time.sleep(float(taken.read_text()))


def install(folder: Path) -> dict[str, str]:
    """The environment of a process that finds the driver `slow`; SLOW is this folder."""
    package = folder / "slow_driver-1.dist-info"
    package.mkdir(parents=True, exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-driver\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[breezeblock.drivers]\nslow = tests.e2e.slow_driver:SlowDriver\n"
    )
    return {"PYTHONPATH": f"{folder}:{REPOSITORY}", "SLOW": str(folder)}
