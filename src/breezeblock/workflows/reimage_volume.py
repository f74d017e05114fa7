"""Reimage a volume: give it an image's content, and keep its id, size and snapshots.

    api        submit    checks; the volume `downloading`
    backend    fill      fetches the image; the driver overwrites the volume with it
    backend    announce  the server that it is reserved for is told

A volume that is reserved is one whose server is being rebuilt: the server waits to be told. All
others are done with the second step.
"""

from __future__ import annotations

import msgspec
import structlog

from breezeblock.model import messages as events
from breezeblock.model.attachments import volume_status_after
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.model.volumes import Volume
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Next, Outcome, Run, Workflow
from breezeblock.store import attachments, messages, operations, volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.workflows.doors import as_driver_volume, queue_of
from breezeblock.workflows.from_image import Filling, Overtaken

log = structlog.get_logger()


class Data(msgspec.Struct, frozen=True):
    """Which image, and what the volume then shows of it."""

    image_id: str
    metadata: dict[str, str]


def submit(tx: WriteTx, caller: Caller, volume: Volume, data: Data) -> str:
    """Put the volume to `downloading` and open the operation; returns its id.

    The caller has checked and locked it in this transaction. Raises InvalidState, Conflict.
    """
    volumes.transition(tx, volume.id, {volume.status}, "downloading", previous_status=volume.status)
    return submit_operation(tx, WORKFLOW, caller, volume.id, data, queue_of(volume.host or ""))


async def fill(run: Run[Data]) -> Outcome:
    """Let the driver do it, as the turn of this operation: it does nothing a second time."""
    data, doors = run.data, run.doors
    volume = await doors.store.read(lambda tx: volumes.get(tx, run.operation.resource_id))

    async def overwrite() -> None:
        # Fetching takes its time. When the work was cut short meanwhile, or done by somebody else,
        # the volume may be written to again.
        if not await doors.store.read(lambda tx: operations.is_held(tx, run.operation)):
            raise Overtaken
        await doors.call(
            volume.backend,
            lambda driver: driver.overwrite,
            as_driver_volume(volume),
            image,
            turn=run.operation.id,
        )

    filling = Filling(run)
    async with filling.image(data.image_id, volume.size, data.metadata) as image:
        try:
            await filling.driver(overwrite)
        except Overtaken:
            return Done(note="was cut short")
    servers = await doors.store.read(lambda tx: _servers(tx, volume))
    if servers:
        queue = queue_of(volume.host or "")
        return Next(queue, data, settle=lambda tx: _filled(tx, volume, data))
    return Done(settle=lambda tx: _filled(tx, volume, data))


async def announce(run: Run[Data]) -> Outcome:
    """Tell the server. That this fails does not unmake the content: it leaves a message."""
    volume_id = run.operation.resource_id
    servers = await run.doors.store.read(lambda tx: _servers(tx, volumes.get(tx, volume_id)))
    problem = "" if run.doors.servers else "no compute service is configured"
    if run.doors.servers is not None and servers:
        try:
            await run.doors.servers.volume_reimaged(servers, volume_id)
        except Exception as error:
            log.warning("servers not told", volume=volume_id, error=str(error))
            problem = str(error)
    return Done(settle=lambda tx: _announced(tx, run.operation, problem), note=problem)


def _servers(tx: ReadTx, volume: Volume) -> list[str]:
    """Whom the volume is reserved for."""
    if volume.previous_status != "reserved":
        return []
    used = attachments.of_volume(tx, volume.id)
    return sorted({one.instance_uuid for one in used if one.instance_uuid})


def _filled(tx: WriteTx, volume: Volume, data: Data) -> None:
    """The volume is what it was before, or whatever its attachments have made of it meanwhile."""
    left = [one.attach_status for one in attachments.of_volume(tx, volume.id)]
    status = "error" if volume.previous_status == "error" else volume_status_after(left)[0]
    volumes.transition(tx, volume.id, {"downloading"}, status, image_metadata=data.metadata)


def _announced(tx: WriteTx, operation: Operation, problem: str) -> None:
    attachments.settle_volume(tx, operation.resource_id)
    if problem:
        messages.tell(
            tx,
            events.REIMAGE_NOT_SEEN,
            operation,
            f"The volume has its new content, but its server could not be told: {problem}. "
            "Rebuild the server again, or restart it.",
        )


def _settle_failure(tx: WriteTx, operation: Operation, _data: Data, failure: Failure) -> None:
    volumes.update(tx, operation.resource_id, status="error")
    messages.tell(tx, events.REIMAGE_FAILED, operation, failure.text)


WORKFLOW = Workflow("reimage_volume", "volume", Data, (fill, announce), _settle_failure)
