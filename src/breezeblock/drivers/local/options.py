"""The local driver's options: what an operator may write under `options` of such a backend."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.options import Given
from breezeblock.exports.listeners import Listen

Format = Literal["auto", "raw", "qcow2"]


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The options, checked and complete.

    path                         where the volumes are; default: `volumes` in the state directory
    format                       how snapshots and clones are made: `raw` copies files (at once
                                 where the file system has reflinks), `qcow2` puts overlays on top;
                                 `auto` takes raw where there are reflinks, else qcow2
    pool                         the pool's name; default: the backend's
    volume_backend_name          default: the backend's name
    capacity_gb                  counts as the file system's size, to make a backend small
    max_over_subscription_ratio  GiB promised for each GiB there is, or "auto" (the scheduler's)
    reserved_percentage          of the capacity, kept free by the scheduler
    filter_function, goodness_function   for the scheduler
    nbd_listen                   `unix`: hosts on this machine only; `tcp://ADDRESS:FIRST-LAST`
    socket_dir                   for sockets, a short path; default: below /run
    qcow2_write_back             quick writes on overlays, at a price: should the storage daemon be
                                 killed, acknowledged writes that were not flushed are lost and the
                                 guests do not notice
    """

    path: Path
    format: Format
    pool: str
    volume_backend_name: str
    capacity_gb: float | None
    max_over_subscription_ratio: float | str
    reserved_percentage: int
    filter_function: str | None
    goodness_function: str | None
    nbd_listen: Listen
    socket_dir: Path
    qcow2_write_back: bool

    @classmethod
    def of(cls, config: BackendConfig) -> LocalOptions:
        """Check and complete what was configured. Raises ValueError that names the option."""
        given = _Given(config.options)
        options = cls(
            path=Path(given.text("path") or config.state_dir / "volumes").absolute(),
            format=cast(Format, given.one_of("format", "auto", "raw", "qcow2")),
            pool=given.text("pool") or config.name,
            volume_backend_name=given.text("volume_backend_name") or config.name,
            capacity_gb=given.number("capacity_gb", None, at_least=0),
            max_over_subscription_ratio=given.ratio("max_over_subscription_ratio", 20.0),
            reserved_percentage=int(given.number("reserved_percentage", 0, at_least=0) or 0),
            filter_function=given.text("filter_function"),
            goodness_function=given.text("goodness_function"),
            nbd_listen=given.listen("nbd_listen"),
            socket_dir=Path(given.text("socket_dir") or default_socket_dir(config.state_dir)),
            qcow2_write_back=given.flag("qcow2_write_back"),
        )
        given.nothing_left()
        return options


def default_socket_dir(state_dir: Path) -> Path:
    """A short path of the backend's own: a unix socket's address has 107 bytes at most."""
    digest = hashlib.sha256(os.fsencode(state_dir.absolute())).hexdigest()[:12]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.access("/run", os.W_OK):
        return Path("/run/breezeblock", digest)
    if runtime:
        return Path(runtime, "breezeblock", digest)
    return Path(tempfile.gettempdir(), f"breezeblock-{os.getuid()}", digest)


class _Given(Given):
    """With the option that only this driver has."""

    def listen(self, key: str) -> Listen:
        try:
            return Listen.parse(self.text(key) or "unix")
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
