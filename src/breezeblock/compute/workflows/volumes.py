"""What several workflows do with a server's volumes: reserve, connect, describe, release.

Every function here may run again, after a crash or beside a late twin: an attachment is looked for
by volume and server before one is made.
"""

from __future__ import annotations

from breezeblock.compute.block_storage import BlockStorage
from breezeblock.compute.doors import LocalHost
from breezeblock.compute.hypervisor import Disk
from breezeblock.model.servers import ServerVolume

GIB = 1024**3


async def reserve(storage: BlockStorage, row: ServerVolume) -> str:
    """See to it that the volume is reserved for the server; returns the attachment's id."""
    volume_id, server_id = row.volume_id or "", row.server_id
    present = await storage.attachments(volume_id, server_id)
    # One that is further on comes first: its export exists already.
    present.sort(key=lambda one: (one.status != "attached", one.status != "attaching", one.id))
    if present:
        return present[0].id
    # A twin of this step that comes late must not reserve anew what was let go of meanwhile.
    return (await storage.reserve(volume_id, server_id, key=f"reserve-{row.id}")).id


async def connect(
    storage: BlockStorage, host: LocalHost, attachment_id: str, device: str | None
) -> None:
    """See to it that the volume is exported to this host."""
    if (await storage.attachment(attachment_id)).status != "attached":
        # A connector given to a complete attachment would put the volume back to `attaching`.
        await storage.connect(attachment_id, host.connector(device))


async def disk_of(storage: BlockStorage, row: ServerVolume) -> Disk:
    """A connected volume as the hypervisor wants it. Its secrets are asked for each time anew."""
    volume_id, attachment_id = row.volume_id or "", row.attachment_id or ""
    attachment = await storage.attachment(attachment_id)
    volume = await storage.volume(volume_id)
    return Disk(
        volume_id=volume_id,
        connection_info=attachment.connection_info or {},
        device=None if row.is_root else row.device,
        boot=row.is_root,
        size_bytes=volume.size * GIB,
    )


async def release(storage: BlockStorage, row: ServerVolume) -> None:
    """Remove the attachment that the row stands for.

    Only that one: when this comes late, the server may have got the volume again. While the row
    does not name it yet, it is one that the server has not completed.
    """
    if row.attachment_id:
        await storage.delete_attachment(row.attachment_id)
    elif row.volume_id:
        for one in await storage.attachments(row.volume_id, row.server_id):
            if one.status != "attached":
                await storage.delete_attachment(one.id)
