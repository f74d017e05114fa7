"""What several workflows do with a server's guest: describe it, start it, stop it."""

from __future__ import annotations

from collections.abc import Sequence

from breezeblock.compute.doors import Doors, LocalHost
from breezeblock.compute.hypervisor import Disk, GuestNotFound, GuestSpec
from breezeblock.compute.workflows.volumes import disk_of
from breezeblock.model.errors import Failure, OperationFailed
from breezeblock.model.servers import Server, ServerVolume


def spec_of(server: Server, host: LocalHost, disks: Sequence[Disk]) -> GuestSpec:
    """The guest of a server: it boots from its root volume, else from the host's own kernel.

    Raises OperationFailed when there is neither.
    """
    from_volume = any(disk.boot for disk in disks)
    if not from_volume and host.kernel is None:
        raise OperationFailed(
            Failure(
                code="nothing-to-boot",
                message=f"Host {host.name} has nothing that the server could boot.",
                cause="The server has no boot volume, and the host no kernel of its own.",
                remedy="Create it with a boot volume, or set compute.kernel and compute.initrd.",
            )
        )
    return GuestSpec(
        uuid=server.id,
        name=server.name,
        memory_mib=server.flavor.ram,
        vcpus=server.flavor.vcpus,
        kernel=None if from_volume else host.kernel,
        initrd=None if from_volume else host.initrd,
        disks=tuple(disks),
    )


def check_task(server: Server, task_state: str) -> None:
    """A step that comes late, or whose server is to be deleted, must not touch the guest.

    Raises OperationFailed.
    """
    if server.task_state != task_state:
        raise OperationFailed(
            Failure(
                code="superseded",
                message=f"Server {server.id} is not {task_state} any more.",
                cause="Other work on the server has taken the place of this, or it is deleted.",
                remedy="Look at the server's status, and repeat the request if it is still wanted.",
            )
        )


async def start_guest(doors: Doors, server: Server, rows: Sequence[ServerVolume]) -> None:
    """Run the guest with its connected volumes; one that runs already is left alone."""
    storage = doors.storage_of(server)
    disks = [await disk_of(storage, row) for row in rows]
    await doors.host.hypervisor.start(spec_of(server, doors.host, disks))


async def stop_guest(doors: Doors, server_id: str, patience: float) -> None:
    """End the guest, the polite way for `patience` seconds. One that is not there is stopped."""
    try:
        await doors.host.hypervisor.stop(server_id, patience)
    except GuestNotFound:
        return
