"""Snapshots of a FlexVol, all of it at one moment: /storage/volumes/{uuid}/snapshots."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from uuid import uuid4

from msgspec.structs import replace

from breezeblock.ontapsim import files, names, space
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.clock import timestamp
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.layout import copy_files
from breezeblock.ontapsim.model import FlexVol, Lun, Snapshot
from breezeblock.ontapsim.resources.common import Lookup, reference
from breezeblock.ontapsim.rest import Call, Identity, Resource


def take(array: Array, volumes: Sequence[FlexVol], name: str, comment: str = "") -> list[Snapshot]:
    """Snapshots of several FlexVols of the same moment."""
    for volume in volumes:
        check_name(array, volume, name)
    luns = array.state.all(Lun)
    made = [
        Snapshot(
            uuid=str(uuid4()),
            name=name,
            svm=volume.svm,
            volume=volume.uuid,
            created=timestamp(),
            comment=comment,
            luns=[lun for lun in luns if lun.folder == volume.uuid],
        )
        for volume in volumes
    ]
    with array.still():
        for snapshot in made:
            _copy(array, snapshot)
    for snapshot in made:
        array.state.put(snapshot)
    return made


def _copy(array: Array, snapshot: Snapshot) -> None:
    folder = array.layout.snapshot(snapshot.uuid)
    array.otherwise(lambda: shutil.rmtree(folder, ignore_errors=True))
    folder.mkdir(parents=True)
    for lun in snapshot.luns:
        target = array.layout.snapshot_lun(snapshot.uuid, lun.uuid)
        files.copy(array.layout.lun(lun), target)
    source = array.layout.flexvol(snapshot.volume)
    copy_files(source, array.layout.snapshot_files(snapshot.uuid))


def check_name(array: Array, volume: FlexVol, name: str) -> None:
    names.plain_name(name)
    if any(other.volume == volume.uuid for other in array.state.named(Snapshot, name)):
        text = f'A snapshot "{name}" of volume "{volume.name}" exists already.'
        raise ApiError(409, "1638461", text, "name")


def drop(array: Array, snapshot: Snapshot) -> None:
    array.state.drop(snapshot)
    folder = array.layout.snapshot(snapshot.uuid)
    array.afterwards(lambda: shutil.rmtree(folder, ignore_errors=True))


def _volume(call: Call) -> FlexVol:
    return call.array.volume_by_uuid(call.params["volume"], call.svm_uuid)


def _records(call: Call) -> list[Document]:
    volume = _volume(call)
    lookup = Lookup(call.array)
    return [
        {
            "uuid": snapshot.uuid,
            "name": snapshot.name,
            "volume": reference(volume),
            "svm": lookup.svm(snapshot.svm),
            "create_time": snapshot.created,
            "size": space.snapshot_used(call.array, snapshot),
            "state": "valid",
            **({"comment": snapshot.comment} if snapshot.comment else {}),
        }
        for snapshot in call.array.state.all(Snapshot)
        if snapshot.volume == volume.uuid
    ]


def _create(call: Call) -> Identity:
    comment = names.comment(call.body.text("comment") or "")
    (snapshot,) = take(call.array, [_volume(call)], call.body.need("name"), comment)
    return (snapshot.uuid,)


def _modify(call: Call, found: Document) -> None:
    snapshot = call.array.state.get(Snapshot, found["uuid"])
    name = call.body.text("name")
    if name and name != snapshot.name:
        check_name(call.array, _volume(call), name)
        snapshot = replace(snapshot, name=name)
    if call.body.has("comment"):
        comment = names.comment(call.body.text("comment") or "")
        snapshot = replace(snapshot, comment=comment)
    call.array.state.put(snapshot)


def _remove(call: Call, found: Document) -> None:
    drop(call.array, call.array.state.get(Snapshot, found["uuid"]))


RESOURCE = Resource(
    path="/storage/volumes/{volume}/snapshots",
    fields="uuid name volume svm create_time size state comment owners expiry_time",
    records=_records,
    create=_create,
    modify=_modify,
    remove=_remove,
    jobs=("POST", "PATCH", "DELETE"),
    missing=lambda uuid: ApiError(404, "1638595", f'No snapshot "{uuid}".', "uuid"),
)
ROUTES = RESOURCE.routes()
