"""Copy a volume into a new image.

api        submit     checks; the volume `uploading`, the image's id chosen, the work not due yet
api        announced  the image service knows the image: the work begins
backend    upload     the content is copied into a file, looked at, and sent

An image that is announced and gets no bytes is discarded by an operation of its own, which opens
when this one fails. Work whose image nobody announces (the API died in between) ends by itself.
"""

from __future__ import annotations

import msgspec

from breezeblock.drivers.base import TemporaryError
from breezeblock.images.packing import NotMade
from breezeblock.model import messages as events
from breezeblock.model.errors import CUT_SHORT, Failure, NotFound, Unavailable
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Failed, Outcome, Run, Workflow
from breezeblock.store import messages, operations, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows import discard_image
from breezeblock.workflows.doors import as_driver_volume, queue_of
from breezeblock.workflows.telling import Telling

ANNOUNCED_WITHIN = 120.0
"""Seconds that the API has for asking the image service."""
AGAIN = 10.0
"""Seconds until an image service that does not answer is asked again."""
NOT_ANNOUNCED = Failure(
    code="not-announced",
    message="The image was not made.",
    cause="The API stopped before the image service had answered.",
    remedy="Ask for the upload again.",
    retryable=True,
)


class Data(msgspec.Struct, frozen=True):
    """What becomes of it. `announced`: the image service knows the image."""

    image_id: str
    disk_format: str
    announced: bool = False


def submit(tx: WriteTx, caller: Caller, volume: Volume, image_id: str, disk_format: str) -> str:
    """Put the volume to `uploading` and open the operation; returns its id.

    The caller has checked and locked the volume in this transaction, and announces the image next.
    Raises InvalidState, Conflict.
    """
    volumes.transition(tx, volume.id, {volume.status}, "uploading", previous_status=volume.status)
    data = Data(image_id, disk_format)
    queue = queue_of(volume.host or "")
    return submit_operation(tx, WORKFLOW, caller, volume.id, data, queue, delay=ANNOUNCED_WITHIN)


def announced(tx: WriteTx, operation_id: str) -> bool:
    """The image service knows the image: begin.

    False when the work was cut short meanwhile: the image came too late, and goes.
    """
    found = operations.get(tx, operation_id)
    if found is None:
        return False
    data = msgspec.convert(found.data, Data)
    begin = {
        "data": msgspec.to_builtins(msgspec.structs.replace(data, announced=True)),
        "due_at": tx.clock(),
    }
    if not operations.amend(tx, operation_id, **begin):
        discard_image.submit(tx, found, data.image_id)
        return False
    tx.wake(found.queue, operation_id)
    return True


def not_announced(tx: WriteTx, operation_id: str, why: str) -> None:
    """The image service does not want the image, or does not answer: the volume is free again."""
    found = operations.get(tx, operation_id)
    failure = Failure(
        code=CUT_SHORT,
        message="The image service has not taken the image.",
        cause=why,
        remedy="Change the request, or repeat it later.",
    )
    if found is not None and operations.cancel(tx, operation_id, failure):
        _settle_failure(tx, found, msgspec.convert(found.data, Data), failure)


async def upload(run: Run[Data]) -> Outcome:
    """Copy the content into a file and send that. An image that is whole already stays as it is."""
    volume = await run.doors.store.read(lambda tx: _to_upload(tx, run.operation))
    if volume is None:
        return Done(note="was cut short")
    if not run.data.announced:
        return Failed(NOT_ANNOUNCED)
    try:
        image = await run.doors.images.find(run.data.image_id)
        if image.status != "active":
            await _send(run, volume)
        else:  # whoever has sent it may have died while he could still read the volume
            await _stop_reading(run, volume)
    except Unavailable as error:
        raise TemporaryError(str(error), retry_after=AGAIN) from error
    except NotFound:
        return Failed(_gone(run.data.image_id))
    except NotMade as error:
        return Failed(_not_made(str(error)))
    except OSError as error:
        raise TemporaryError(f"No room for the image: {error}.", retry_after=AGAIN) from error
    return Done(
        result={"image_id": run.data.image_id},
        settle=lambda tx: _settle(tx, volume.id),
        note=f"image {run.data.image_id}",
    )


async def _send(run: Run[Data], volume: Volume) -> None:
    telling, seen = Telling(run), as_driver_volume(volume)
    name = f"{run.operation.id}-{run.operation.epoch}"
    try:
        source = await run.doors.call(volume.backend, lambda driver: driver.readable, seen)
        async with run.doors.packing.pack(
            source, run.data.disk_format, volume.size, name, telling.first_half
        ) as packed:
            await run.report(50)  # whoever was overtaken meanwhile has read what he should not
            content = packed.content(telling.second_half)
            await run.doors.images.write(run.data.image_id, content)
    finally:
        await _stop_reading(run, volume)


async def _stop_reading(run: Run[Data], volume: Volume) -> None:
    await run.doors.call(
        volume.backend, lambda driver: driver.done_reading, as_driver_volume(volume)
    )


def _to_upload(tx: ReadTx, held: Operation) -> Volume | None:
    """Nothing when it was cut short while its worker was frozen: somebody may be writing to the
    volume (what the worker records is refused)."""
    return volumes.find(tx, held.resource_id) if operations.is_held(tx, held) else None


def _settle(tx: WriteTx, volume_id: str) -> None:
    """No host was let in meanwhile."""
    volumes.update(tx, volume_id, status="available")


def _settle_failure(tx: WriteTx, operation: Operation, data: Data, failure: Failure) -> None:
    _settle(tx, operation.resource_id)
    messages.tell(tx, events.UPLOAD_FAILED, operation, failure.text)
    discard_image.submit(tx, operation, data.image_id)


def _gone(image_id: str) -> Failure:
    return Failure(
        code="gone",
        message=f"Image {image_id} is not there any more.",
        cause="It was deleted while the volume was copied into it.",
        remedy="Upload the volume again if the image is still wanted.",
    )


def _not_made(why: str) -> Failure:
    return Failure(
        code="image-not-made",
        message="The volume could not be copied into an image.",
        cause=why,
        remedy="Choose another format, or tell the operator the request id.",
        private=True,
    )


WORKFLOW = Workflow("upload_volume", "volume", Data, (upload,), _settle_failure)
