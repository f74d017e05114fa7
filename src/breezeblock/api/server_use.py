"""A volume is not taken from under a running server: compute has to let go of it first.

Whoever comes from the compute service itself may (it shows a service token, or is the user that the
agents are configured with).
"""

from __future__ import annotations

from breezeblock.api.application import ApiCall
from breezeblock.model.attachments import Attachment
from breezeblock.model.errors import Conflict, Unavailable

PREFIX = "ConflictNovaUsingAttachment"
"""Clients know the conflict by this name."""


def comes_from_compute(call: ApiCall) -> bool:
    """Whether the compute service itself asks: it knows what its servers use."""
    agent = call.app.config.compute.block_storage_user
    return call.identity.is_service or bool(agent and call.identity.user_id == agent)


async def check_not_used(call: ApiCall, attachment: Attachment) -> None:
    """Raises Conflict while a server uses the attachment, or when that cannot be found out.

    The error names both: only who may detach the volume (`access.allowed_volume`) is to see it.
    """
    if comes_from_compute(call):
        return
    server = attachment.instance_uuid
    compute = call.app.servers
    if compute is None or server is None or not attachment.connection_info:
        return
    try:
        used = await call.outside(lambda: compute.attachment_in_use(server, attachment.volume_id))
    except Unavailable as error:
        raise Conflict(
            f"{PREFIX}: whether server {server} uses attachment {attachment.id} cannot be found "
            f"out: {error}"
        ) from error
    if used == attachment.id:
        raise Conflict(
            f"{PREFIX}: server {server} uses attachment {attachment.id}; detach the volume "
            "with the compute API."
        )
