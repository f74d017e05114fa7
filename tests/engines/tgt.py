"""A private iSCSI target (tgtd), for tests that need an array to log in to.

One target, one logical unit a volume, CHAP for all. The control socket is the engine's own, and so
is its address on loopback, so several run side by side. tgtd keeps no configuration: what was
served is told to it again at each start.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.process import EngineMissing, PrivateServer

_TGTD = Path("/usr/sbin/tgtd")
_FIRST_LUN = 1  # LUN 0 is tgt's controller


@dataclass(frozen=True)
class Unit:
    """A logical unit: its file is the volume's content."""

    lun: int
    path: Path
    serial: str


class Tgt(PrivateServer):
    """tgtd on a loopback port, with a target that wants CHAP and lets some initiators in."""

    stop_signal = signal.SIGKILL  # it ignores others for as long as it has targets
    iqn = "iqn.2026-11.test.breezeblock:array"
    user, password = "chap-user", "chap-secret-12345"

    def __init__(self, *initiators: str) -> None:
        if not _TGTD.exists():
            raise EngineMissing("tgtd is not installed: apt-get install tgt")
        super().__init__("tgt")
        self._initiators = initiators
        self._units: dict[str, Unit] = {}

    @property
    def portal(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        started = not self.running
        super().start()
        if not started:
            return
        self._tell("new", "target", targetname=self.iqn)
        for initiator in self._initiators:
            self._tell("bind", "target", initiator_name=initiator)
        self._tell("new", "account", tid=None, user=self.user, password=self.password)
        self._tell("bind", "account", user=self.user)
        for unit in self._units.values():
            self._serve(unit)

    def serve(self, volume_id: str, size: int) -> dict[str, Any]:
        """Offer one more volume; return its connection_info."""
        lun = max((unit.lun for unit in self._units.values()), default=_FIRST_LUN - 1) + 1
        path = self.home / f"{volume_id}.raw"
        path.touch()
        os.truncate(path, size)
        unit = Unit(lun, path, f"SN{self.port:05}{lun:05}")
        self._units[volume_id] = unit
        self._serve(unit)
        return self.connection_info(volume_id)

    def connection_info(self, volume_id: str) -> dict[str, Any]:
        """What a driver says that offers the volume: how to get in, and who it is."""
        unit = self._units[volume_id]
        data: dict[str, Any] = {
            "target_discovered": False,
            "target_portal": self.portal,
            "target_iqn": self.iqn,
            "target_lun": unit.lun,
            "volume_id": volume_id,
            "auth_method": "CHAP",
            "auth_username": self.user,
            "auth_password": self.password,
            "lun_serial": unit.serial,
        }
        return {"driver_volume_type": "iscsi", "data": data}

    def file(self, volume_id: str) -> Path:
        return self._units[volume_id].path

    def grow(self, volume_id: str, size: int) -> None:
        """Under open sessions; hosts that ask in this moment are told that it is not ready."""
        unit = self._units[volume_id]
        os.truncate(unit.path, size)
        for change in ("online=0", f"path={unit.path}", "online=1"):
            self._update(unit, change)

    def withdraw(self, volume_id: str) -> None:
        """Take the logical unit away, also from hosts that have it open."""
        unit = self._units.pop(volume_id)
        self._tell("update", "logicalunit", lun=unit.lun, params="online=0")
        self._tell("delete", "logicalunit", lun=unit.lun)

    def _serve(self, unit: Unit) -> None:
        self._tell("new", "logicalunit", lun=unit.lun, backing_store=unit.path, bstype="rdwr")
        identity = f"scsi_sn={unit.serial}"
        self._update(unit, f"{identity},thin_provisioning=1,vendor_id=TEST,product_id=LUN")

    def _update(self, unit: Unit, params: str) -> None:
        self._tell("update", "logicalunit", lun=unit.lun, params=params)

    def _tell(self, op: str, mode: str, **options: object) -> None:
        command = ["tgtadm", "--lld", "iscsi", "--op", op, "--mode", mode]
        for name, value in {"tid": 1, **options}.items():
            if value is not None:
                command += [f"--{name.replace('_', '-')}", str(value)]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")

    def _command(self) -> Sequence[str]:
        portal = f"portal={self.portal}"
        return [*("setpriv", "--pdeathsig", "KILL", "--"), str(_TGTD), "-f", "--iscsi", portal]

    def _environment(self) -> Mapping[str, str]:
        path = f"{os.environ['PATH']}:/usr/sbin"
        return {**super()._environment(), "PATH": path, "TGT_IPC_SOCKET": f"{self.home}/control"}

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        done = subprocess.run(
            ["tgtadm", "--op", "show", "--mode", "sys"],
            env=self._environment(),
            capture_output=True,
        )
        return done.returncode == 0
