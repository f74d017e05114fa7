"""Disks of a running QEMU: what is plugged, plug, unplug, grow. Each starts from what QEMU says.

Called by `qemu`, one call at a time for a guest. Nothing is remembered between calls, so a call
that was cut short anywhere is made good by calling again: leftovers without a device are removed
before a disk is plugged, and after it is unplugged.

QEMU flushes when it closes a node, and stands still, the whole guest with it, for as long as it
waits for the server: ten minutes with NBD, for ever with iSCSI and NFS. Nobody needs that flush:
the device is gone, and what it wrote was acknowledged. So a node whose server is away is told to
give up first (NBD), or is left where it is (iSCSI and NFS know no giving up), without a disk and
with nothing to write, until its server answers again: each later attach or detach has a look.

With NFS QEMU stands still even when it is asked what nodes it has, because it asks the server how
much they take there: so a guest with an NFS server that is away is not asked (`nfs_speaks`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from breezeblock.compute.block_devices import THROTTLE, DiskPlan, filter_node
from breezeblock.compute.device_names import device_name
from breezeblock.compute.disk_names import (
    GENERATIONS,
    DiskNames,
    Generation,
    volume_of_device,
)
from breezeblock.compute.guest_directory import DiskDirectory, GuestDirectory
from breezeblock.compute.hypervisor import AttachedDisk, HostError
from breezeblock.compute.qmp import Monitor, Refused
from breezeblock.compute.storage_answers import answers, bottom

_DEVICES = "/machine/peripheral"
_REMOTE = ("nbd", "iscsi", "nfs")
_NO_SUCH_LUN = "LOGICAL_UNIT_NOT_SUPPORTED"
_ASK_AGAIN = 3.0
"""Seconds after which a guest is asked again for a disk: one that was booting did not hear it."""


@dataclass(frozen=True, slots=True)
class Plugged:
    """A disk of a running guest, and the slot it is in."""

    slot: int
    disk: AttachedDisk


async def nfs_speaks(guest: GuestDirectory) -> None:
    """A temporary HostError when a server of the guest's NFS disks is away: QEMU may not be asked
    about its disks then."""
    for disk in guest.disks():
        for options in (disk.options() or {}, *disk.abandoned().values()):
            if options and bottom(options)["driver"] == "nfs" and not await answers(options):
                server = bottom(options)["server"]["host"]
                raise HostError(
                    f"The NFS server {server} of volume {disk.volume_id} does not answer: nothing "
                    "can be done with the guest's disks meanwhile.",
                    remedy="See that it is up and reachable from this host; the guest waits.",
                    temporary=True,
                )


async def plugged(monitor: Monitor) -> dict[str, Plugged]:
    """All disks of ours that the guest has, by volume UUID, in the order of their slots."""
    nodes = await _nodes(monitor)
    found = {}
    for child in await monitor.execute("qom-list", path=_DEVICES):
        volume_id = volume_of_device(child["name"])
        if volume_id is None:
            continue
        path = f"{_DEVICES}/{child['name']}"
        bus = await monitor.execute("qom-get", path=path, property="parent_bus")
        slot = int(str(bus).rpartition("/slot")[2])
        node = nodes[DiskNames(volume_id).filter]
        disk = AttachedDisk(volume_id, device_name(slot), _size(node), bool(node["ro"]))
        found[volume_id] = Plugged(slot, disk)
    return dict(sorted(found.items(), key=lambda item: item[1].slot))


async def plug(monitor: Monitor, plan: DiskPlan, directory: DiskDirectory) -> None:
    """Plug a disk that the guest does not have; all or nothing."""
    await remove_leftovers(monitor, plan.names, directory)
    await _remove_objects(monitor, plan.names.objects)
    plan = replace(plan, generation=await _free_generation(monitor, plan.names))
    try:
        with_secrets = dict(plan.transport.secrets)
        directory.write_secrets(with_secrets)
        try:
            for helper in plan.objects:
                await monitor.execute("object-add", **helper)
        finally:
            directory.remove_secrets(list(with_secrets))
        directory.remember_options(plan.transport.options)
        for node in plan.nodes:
            await monitor.execute("blockdev-add", **node)
        await check_size(monitor, plan)
        await monitor.execute("device_add", **plan.device)
    except Refused as refusal:
        await remove_leftovers(monitor, plan.names, directory)
        raise HostError(
            f"Volume {plan.names.volume_id} could not be attached: {refusal.text}",
            remedy="See that the volume's export is up and reachable from this host.",
            temporary=True,
        ) from refusal
    except HostError:
        await remove_leftovers(monitor, plan.names, directory)
        raise


async def check_size(monitor: Monitor, plan: DiskPlan) -> None:
    """The stand-in for a serial, which NBD has none of: a smaller disk is another volume's."""
    expected = plan.disk.size_bytes
    shown = _size((await _nodes(monitor))[plan.names.filter])
    if expected is not None and shown < expected:
        raise HostError(
            f"The storage shows {shown} bytes for volume {plan.names.volume_id}, "
            f"{expected} are expected.",
            remedy="The export is another volume's, or an extend has not reached it yet.",
            temporary=True,
        )


async def unplug(
    monitor: Monitor, names: DiskNames, directory: DiskDirectory, patience: float
) -> None:
    """Take the disk from the guest, then close the storage; what is gone already is no error."""
    await _remove_device(monitor, names, patience)
    await remove_leftovers(monitor, names, directory)


async def _remove_device(monitor: Monitor, names: DiskNames, patience: float) -> None:
    """Ask the guest for the disk until it gives it back: QEMU tells when it did."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience
    with monitor.events("DEVICE_DELETED") as deleted:
        while True:
            try:
                await monitor.execute("device_del", id=names.device)
            except Refused as refusal:
                if refusal.error_class == "DeviceNotFound":
                    return
                if "in the process of unplug" not in refusal.text:
                    raise HostError(f"The disk cannot be unplugged: {refusal.text}") from refusal
            left = max(0.0, deadline - clock())
            if await deleted.seen(min(left, _ASK_AGAIN), device=names.device):
                return
            if clock() >= deadline:
                raise HostError(
                    f"The guest did not release volume {names.volume_id} within {patience:.0f} s.",
                    remedy="It may be booting, or hang: try again, or stop it.",
                    temporary=True,
                )


async def remove_leftovers(monitor: Monitor, names: DiskNames, directory: DiskDirectory) -> None:
    """Remove all that belongs to the volume but the device, which must be gone.

    The filter goes first and in any case: without a device it has no right to write, so it does
    not ask the node below to flush.
    """
    present = await _nodes(monitor)
    for node in (names.probe, names.filter):
        if node in present:
            await _must(monitor, "blockdev-del", node_name=node)
    protocols = await _protocols(monitor, names, directory)
    options = directory.options()
    if protocols and options and not await _reachable(monitor, names, options):
        if options["driver"] == "nbd":
            connections = [{"type": "block-node", "node-name": node} for node in protocols]
            await _must(monitor, "yank", instances=connections)
        else:
            for node in protocols:
                directory.abandon(node, options)
            protocols = []
    for node in protocols:
        await _must(monitor, "blockdev-del", node_name=node)
    # What was left needs its password, for us to find out whether it could log in again.
    needed = {names.secret} if directory.abandoned() else set()
    await _remove_objects(monitor, [one for one in names.objects if one not in needed])
    directory.remove()


async def close_abandoned(monitor: Monitor, guest: GuestDirectory) -> None:
    """Close the nodes that earlier detaches had to leave, as far as their servers are back."""
    for directory in guest.abandoned_disks():
        names = DiskNames.of(directory.volume_id)
        for node, options in directory.abandoned().items():
            if node in await _nodes(monitor):
                if not await _reachable(monitor, names, options):
                    continue
                await _must(monitor, "blockdev-del", node_name=node)
            directory.closed(node)
        if not directory.abandoned() and directory.options() is None:
            await _remove_objects(monitor, [names.secret])
            directory.remove()


async def _remove_objects(monitor: Monitor, objects: Sequence[str]) -> None:
    present = {child["name"] for child in await monitor.execute("qom-list", path="/objects")}
    for helper in objects:
        if helper in present:
            await _must(monitor, "object-del", id=helper)


async def _protocols(monitor: Monitor, names: DiskNames, directory: DiskDirectory) -> list[str]:
    """The volume's protocol nodes, without those that were left behind."""
    present, abandoned = await _nodes(monitor), directory.abandoned()
    known = (names.protocol(generation) for generation in GENERATIONS)
    return [node for node in known if node in present and node not in abandoned]


async def _free_generation(monitor: Monitor, names: DiskNames) -> Generation:
    """One that no node has; HostError when sessions that cannot be closed have them all."""
    present = await _nodes(monitor)
    for generation in GENERATIONS:
        if names.protocol(generation) not in present:
            return generation
    raise HostError(
        f"{len(GENERATIONS)} connections to volume {names.volume_id} are left from earlier attaches"
        " whose storage went away.",
        remedy="They are closed when that storage answers again, or when the guest is stopped.",
        temporary=True,
    )


async def _reachable(monitor: Monitor, names: DiskNames, options: Mapping[str, Any]) -> bool:
    """Whether the server is there and still lets us in: tried with a second connection.

    A target that lets us in and has the LUN no more says so to a flush, too, at once.
    """
    node = bottom(options)
    if node["driver"] not in _REMOTE:
        return True
    if not await answers(options):
        return False
    probe = {key: value for key, value in node.items() if key not in ("reconnect-delay", "discard")}
    try:
        await monitor.execute("blockdev-add", **{**probe, "read-only": True}, node_name=names.probe)
        await monitor.execute("blockdev-del", node_name=names.probe)
    except Refused as refusal:
        return _NO_SUCH_LUN in refusal.text
    return True


async def grow(monitor: Monitor, names: DiskNames, directory: DiskDirectory, wanted: int) -> int:
    """Show the guest at least `wanted` bytes; return what it sees now.

    The size is always read from the storage and never the wanted one written: QEMU would cut a file
    to a size that comes late.
    """
    node = (await _nodes(monitor)).get(names.filter)
    if node is None:
        raise HostError(f"The guest has no disk of volume {names.volume_id}.")
    shown = _size(node)
    if shown >= wanted:
        return shown
    options = directory.options()
    if options is None:
        raise HostError(
            f"How volume {names.volume_id} was attached is not known any more.",
            remedy="Detach it and attach it again: the guest then sees its size.",
        )
    if options["driver"] == "qcow2":
        raise HostError(
            "A qcow2 file that a guest has open cannot be seen to grow.",
            remedy="Detach the volume and attach it again: the guest then sees its size.",
        )
    if "filename" in options:
        present = _size_on_host(Path(str(options["filename"])))
    else:
        present = await _ask_server(monitor, names, directory, shown)
    if present > shown:
        await _must(monitor, "block_resize", node_name=names.filter, size=present)
    if present < wanted:
        raise HostError(
            f"The storage shows {present} bytes for volume {names.volume_id}, not {wanted} yet.",
            remedy="The extend must reach the storage first.",
            temporary=True,
        )
    return present


def _size_on_host(path: Path) -> int:
    with path.open("rb") as file:
        return file.seek(0, os.SEEK_END)


async def _ask_server(
    monitor: Monitor, names: DiskNames, directory: DiskDirectory, shown: int
) -> int:
    """Learn the present size over a second connection, and move the filter onto it when it grew.

    An idle client keeps the size of the day it connected; the guest does not notice the move.
    """
    options = directory.options() or {}
    if not await answers(options):
        raise HostError(
            f"The storage of volume {names.volume_id} does not answer.",
            remedy="See that its server or its portal is up and reachable from this host.",
            temporary=True,
        )
    old = await _node_in_use(monitor, names, directory)
    generation = await _free_generation(monitor, names)
    new = names.protocol(generation)
    await _must(monitor, "blockdev-add", **options, node_name=new)
    nodes = await _nodes(monitor)
    present = _size(nodes[new])
    if present > shown:
        limited = nodes[names.filter]["drv"] == THROTTLE
        read_only = bool(options["read-only"])
        above = filter_node(names, generation, read_only=read_only, limited=limited)
        await _must(monitor, "blockdev-reopen", options=[above])
    await _must(monitor, "blockdev-del", node_name=old if present > shown else new)
    return present


async def _node_in_use(monitor: Monitor, names: DiskNames, directory: DiskDirectory) -> str:
    """The protocol node below the filter; a second one, left by a grow that was cut short, goes.

    QEMU refuses to delete a node that is in use.
    """
    present = await _protocols(monitor, names, directory)
    for node in present if len(present) > 1 else ():
        try:
            await monitor.execute("blockdev-del", node_name=node)
        except Refused:
            return node
    return present[-1]


async def _must(monitor: Monitor, command: str, **arguments: Any) -> None:
    try:
        await monitor.execute(command, **arguments)
    except Refused as refusal:
        raise HostError(f"QEMU refuses {refusal}", temporary=True) from refusal


async def _nodes(monitor: Monitor) -> dict[str, dict[str, Any]]:
    listed = await monitor.execute("query-named-block-nodes", flat=True)
    return {node["node-name"]: node for node in listed}


def _size(node: dict[str, Any]) -> int:
    return int(node["image"]["virtual-size"])
