"""The doors that compute steps make their effects through (design, law 9)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breezeblock.compute.block_storage import BlockStorage
from breezeblock.compute.hypervisor import Hypervisor
from breezeblock.config import Config
from breezeblock.model.servers import Server
from breezeblock.store.store import Store


@dataclass(frozen=True)
class LocalHost:
    """The compute host that an agent runs on: its hypervisor, and how it treats guests."""

    name: str
    ip: str
    hypervisor: Hypervisor
    kernel: Path | None = None
    initrd: Path | None = None
    shutdown_timeout: float = 60.0
    detach_timeout: float = 20.0
    initiator: str | None = None

    @classmethod
    def of(cls, config: Config, hypervisor: Hypervisor) -> LocalHost:
        compute = config.compute
        return cls(
            name=compute_host(config),
            ip=compute.ip,
            hypervisor=hypervisor,
            kernel=Path(compute.kernel) if compute.kernel else None,
            initrd=Path(compute.initrd) if compute.initrd else None,
            shutdown_timeout=compute.shutdown_timeout,
            detach_timeout=compute.detach_timeout,
            initiator=iscsi_initiator(config),
        )

    def connector(self, device: str | None) -> Mapping[str, Any]:
        """What storage has to know of this host to let it in (connection_info.md section 1)."""
        found = {
            "platform": os.uname().machine,
            "os_type": "linux",
            "ip": self.ip,
            "host": self.name,
            "multipath": self.initiator is not None,  # all portals: we take one that is up
            "enforce_multipath": False,
            "do_local_attach": False,
            "mountpoint": device,
            "initiator": self.initiator,
        }
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Doors:
    """What a process offers its steps. Only an agent has a host."""

    store: Store
    block_storage: BlockStorage
    local: LocalHost | None = None

    @property
    def host(self) -> LocalHost:
        """The host, which must be here: the queue brought the work to its agent."""
        if self.local is None:
            raise RuntimeError("this process is no compute agent")
        return self.local

    def storage_of(self, server: Server) -> BlockStorage:
        """Block storage on behalf of the server's owner."""
        return self.block_storage.of(server.user_id, server.project_id)


def compute_host(config: Config) -> str:
    """This compute host's name."""
    return config.compute.host or config.hostname


def queue_of(host: str) -> str:
    """The topic that a host's agent takes work from."""
    return f"compute.{host}"


def iscsi_initiator(config: Config) -> str:
    """The name that this host logs in to iSCSI targets with.

    Not the one of open-iscsi: QEMU logs in by itself, beside the host's own sessions.
    """
    if config.compute.initiator:
        return config.compute.initiator
    allowed = re.sub(r"[^a-z0-9.:-]+", "-", compute_host(config).lower())
    return f"iqn.2026-11.cloud.breezeblock:{allowed}"
