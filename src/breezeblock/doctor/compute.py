"""The compute database beside that of block storage: told, never repaired.

Where the compute service is somebody else's, or has never run, there is nothing to look at.
"""

from __future__ import annotations

from breezeblock.doctor.findings import Finding, of_violation
from breezeblock.model.attachments import Attachment
from breezeblock.model.invariants.servers import SeenAttachment, Surroundings, check_live
from breezeblock.store import facts, server_facts, servers
from breezeblock.store.store import ReadTx, Store


async def examine(compute: Store, block_storage: Store, down_time: float) -> list[Finding]:
    """What is wrong with servers, and where the two services do not agree on attachments."""
    if not await compute.read(lambda tx: servers.hosts(tx, down_time)):
        return []
    present = await block_storage.read(facts.read)
    held = [_seen(one) for one in present.attachments]
    around = Surroundings(hosts=(), guests=(), attachments=held)
    return await compute.read(lambda tx: _examine(tx, around))


def _examine(tx: ReadTx, around: Surroundings) -> list[Finding]:
    tx.stand_still()
    return [of_violation(one) for one in check_live(server_facts.read(tx), around)]


def _seen(one: Attachment) -> SeenAttachment:
    return SeenAttachment(one.id, one.volume_id, one.instance_uuid or "", one.host)
