"""Actions that change what a backend holds of a volume as a whole: put it back, or let go of it."""

from __future__ import annotations

from breezeblock.api.access import locked_volume
from breezeblock.api.application import ApiCall
from breezeblock.api.volume_actions import volume_action
from breezeblock.model import snapshots as snapshot_rules
from breezeblock.store import attachments, snapshots
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import LooseBody
from breezeblock.workflows import revert_volume, unmanage_volume


class Revert(LooseBody, frozen=True):
    snapshot_id: str | None = None


async def revert(call: ApiCall) -> None:
    """Put the volume back to its latest snapshot, which the caller has to name."""
    asked = call.body.snapshot_id

    def submit(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume:revert_to_snapshot")
        connected = bool(attachments.of_volume(tx, volume.id))
        latest = snapshots.latest_locked(tx, volume.id)
        chosen = snapshot_rules.check_revert(volume, latest, asked, connected=connected)
        revert_volume.submit(tx, call.app.caller(call), volume, chosen)

    await call.app.store.write(submit)


async def unmanage(call: ApiCall) -> None:
    """Forget the volume; the backend keeps its bytes."""

    def submit(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume_extension:volume_unmanage")
        unmanage_volume.submit(tx, call.app.caller(call), volume)

    await call.app.store.write(submit)


ROUTES: tuple[Route, ...] = (
    volume_action(
        "revert", revert, "Put a volume back to its latest snapshot", Revert, since="3.40"
    ),
    volume_action("os-unmanage", unmanage, "Forget a volume and leave its data on the backend"),
)
