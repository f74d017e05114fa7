"""os-reimage: a volume gets an image's content instead of its own."""

from __future__ import annotations

from breezeblock.api import image_source
from breezeblock.api.access import locked_volume, owner_of
from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.api.volume_actions import volume_action
from breezeblock.model import volumes as rules
from breezeblock.store import attachments, volumes
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Bool, Uuid
from breezeblock.workflows import reimage_volume

KEY = "os-reimage.image_id"


class Reimage(Body, frozen=True):
    image_id: Uuid
    reimage_reserved: Bool = False


async def reimage(call: ApiCall) -> None:
    wanted: Reimage = call.body
    volume_id = call.params["volume_id"]
    await call.app.store.read(lambda tx: volumes.get(tx, volume_id, seen_by(call)))
    call.require("volume:reimage")
    image = await image_source.find(call, wanted.image_id, KEY)

    def submit(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, "volume:reimage")
        if volume.status == "reserved":
            call.require("volume:reimage_reserved", owner_of(volume))
        used = attachments.of_volume(tx, volume.id)
        rules.check_reimage(
            volume,
            attachments=len(used),
            connected=any(one.host for one in used),
            reserved_allowed=wanted.reimage_reserved,
        )
        image_source.check_usable(image, volume.size, KEY)
        data = reimage_volume.Data(image.id, image_source.metadata(image))
        reimage_volume.submit(tx, call.app.caller(call), volume, data)

    await call.app.store.write(submit)


ROUTES: tuple[Route, ...] = (
    volume_action("os-reimage", reimage, "Overwrite a volume with an image", Reimage, since="3.68"),
)
