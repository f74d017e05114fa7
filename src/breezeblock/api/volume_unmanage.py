"""os-unmanage: forget a volume; the backend keeps its bytes."""

from __future__ import annotations

from breezeblock.api.access import locked_volume
from breezeblock.api.application import ApiCall
from breezeblock.api.volume_actions import volume_action
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.workflows import unmanage_volume


async def unmanage(call: ApiCall) -> None:
    def submit(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume_extension:volume_unmanage")
        unmanage_volume.submit(tx, call.app.caller(call), volume)

    await call.app.store.write(submit)


ROUTES: tuple[Route, ...] = (
    volume_action("os-unmanage", unmanage, "Forget a volume and leave its data on the backend"),
)
