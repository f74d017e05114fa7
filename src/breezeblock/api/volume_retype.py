"""os-retype: give a volume another type."""

from __future__ import annotations

from breezeblock.api.access import locked_volume, owner_of
from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.api.volume_actions import volume_action
from breezeblock.model.encryptions import refuse_volumes
from breezeblock.store import encryptions, volume_types
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body
from breezeblock.workflows import retype_volume
from breezeblock.workflows.retype_volume import Policy


class Retype(Body, frozen=True):
    new_type: str
    migration_policy: Policy = "never"


async def retype(call: ApiCall) -> None:
    body: Retype = call.body

    def submit(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume:retype")
        wanted = volume_types.resolve(tx, body.new_type, seen_by(call))
        if wanted.multiattach:
            call.require("volume:multiattach", owner_of(volume))
        refuse_volumes(wanted.name, encrypted=encryptions.find(tx, wanted.id) is not None)
        retype_volume.submit(
            tx,
            call.app.caller(call),
            volume,
            wanted,
            body.migration_policy,
            call.app.quota_defaults,
        )

    await call.app.store.write(submit)


ROUTES: tuple[Route, ...] = (
    volume_action("os-retype", retype, "Change the type of a volume", Retype),
)
