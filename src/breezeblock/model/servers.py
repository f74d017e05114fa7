"""Servers (guests with an owner), their volumes, and the hosts they run on.

The compute service alone uses them: `store.servers` reads and writes them, `compute` acts on them.
A server is BUILD, ACTIVE, SHUTOFF or ERROR; one that is deleted has no row. BUILD and a task state
exist only while an operation on the server is open (design, law 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from breezeblock.model.errors import Conflict, Failure

VM_STATES = {"BUILD": "building", "ACTIVE": "active", "SHUTOFF": "stopped", "ERROR": "error"}
POWER_STATES = {"ACTIVE": 1, "SHUTOFF": 4}
DELETING = "deleting"

ROOT_BOOT_INDEX = 0


class Flavor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A size of servers. `ram` is MiB, `disk` GiB."""

    id: str
    name: str
    vcpus: int = 1
    ram: int
    disk: int = 0


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server as it stands in the database. `fault` tells why the last piece of work failed."""

    id: str
    project_id: str
    user_id: str
    name: str
    status: str
    flavor: Flavor
    created_at: datetime
    description: str | None = None
    task_state: str | None = None
    host: str | None = None
    availability_zone: str | None = None
    image_ref: str | None = None
    metadata: dict[str, str] = {}
    fault: dict[str, Any] | None = None
    launched_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def vm_state(self) -> str:
        return VM_STATES[self.status]

    @property
    def power_state(self) -> int:
        return POWER_STATES.get(self.status, 0)

    @property
    def shown_status(self) -> str:
        """The status as clients see it: a restart under way has a name of its own."""
        return "REBOOT" if self.task_state == "rebooting" else self.status


class VolumeSource(msgspec.Struct, frozen=True, kw_only=True):
    """What a server's volume is to be made from: a snapshot, an image, or nothing (`size` GiB of
    zeros)."""

    snapshot_id: str | None = None
    image_id: str | None = None
    size: int | None = None
    volume_type: str | None = None


class ServerVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of a server, attached or on its way.

    `state` is attaching, attached, detaching, or error: the work on it ended badly and could not be
    undone. `source` is set when the server's creation makes the volume; until then it has no id.
    """

    id: str
    server_id: str
    state: str
    created_at: datetime
    volume_id: str | None = None
    source: VolumeSource | None = None
    attachment_id: str | None = None
    device: str | None = None
    boot_index: int | None = None
    tag: str | None = None
    delete_on_termination: bool = False
    updated_at: datetime | None = None

    @property
    def is_root(self) -> bool:
        return self.boot_index == ROOT_BOOT_INDEX

    @property
    def name_of_made(self) -> str:
        """Name of the volume that is made for it: by it a repeated step finds what it has made."""
        return f"{self.server_id}-{(self.device or self.id).rpartition('/')[2]}"


class ComputeHost(msgspec.Struct, frozen=True, kw_only=True):
    """A compute host as it reported itself; `up`: lately. `servers` is how many live there."""

    name: str
    availability_zone: str
    details: dict[str, Any]
    reported_at: float
    up: bool
    servers: int = 0


def check_idle(server: Server, what: str, allowed: Iterable[str]) -> None:
    """Whether a server in such a status, and with nothing under way, may be worked on.

    Raises Conflict.
    """
    if server.task_state is not None:
        raise Conflict(
            f"Cannot '{what}' instance {server.id} while it is in task_state {server.task_state}"
        )
    if server.status not in allowed:
        raise Conflict(
            f"Cannot '{what}' instance {server.id} while it is in vm_state {server.vm_state}"
        )


def check_volumes_rest(server: Server, what: str, volumes: Iterable[ServerVolume]) -> None:
    """Whether none of a server's volumes is on its way. Raises Conflict."""
    for volume in volumes:
        if volume.state in ("attaching", "detaching"):
            raise Conflict(
                f"Cannot '{what}' instance {server.id} while volume {volume.volume_id} is "
                f"{volume.state}"
            )


def choose_host(hosts: Iterable[ComputeHost], zone: str | None, name: str | None) -> str | None:
    """The host that takes a new server: fewest servers first; None when no host can.

    A host that says it cannot run guests is the last choice: a server that fails there shows why.
    """
    fitting = [
        host
        for host in hosts
        if host.up
        and (name is None or host.name == name)
        and (zone is None or host.availability_zone == zone)
    ]
    fitting.sort(key=lambda host: ("problem" in host.details, host.servers, host.name))
    return fitting[0].name if fitting else None


def fault_of(failure: Failure, moment: datetime) -> dict[str, Any]:
    """Why work on a server failed, as the wire shows it. `moment` is UTC without zone."""
    return {
        "code": 500,
        "created": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "message": failure.text,
        "details": failure.code,
    }
