"""revert: put a volume back to its latest snapshot."""

from __future__ import annotations

from breezeblock.api.access import locked_volume
from breezeblock.api.application import ApiCall
from breezeblock.api.volume_actions import volume_action
from breezeblock.model import snapshots as rules
from breezeblock.store import attachments, snapshots
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import LooseBody
from breezeblock.workflows import revert_volume


class Revert(LooseBody, frozen=True):
    """The latest snapshot is to be named: nobody goes back to another one than he thinks of."""

    snapshot_id: str | None = None


async def revert(call: ApiCall) -> None:
    asked = call.body.snapshot_id

    def submit(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume:revert_to_snapshot")
        connected = bool(attachments.of_volume(tx, volume.id))
        latest = snapshots.latest_locked(tx, volume.id)
        chosen = rules.check_revert(volume, latest, asked, connected=connected)
        revert_volume.submit(tx, call.app.caller(call), volume, chosen)

    await call.app.store.write(submit)


ROUTES: tuple[Route, ...] = (
    volume_action(
        "revert", revert, "Put a volume back to its latest snapshot", Revert, since="3.40"
    ),
)
