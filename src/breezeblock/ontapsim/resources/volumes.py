"""FlexVols: /storage/volumes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from uuid import uuid4

from msgspec.structs import replace

from breezeblock.ontapsim import errors, names, space
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.clock import timestamp
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Aggregate, FlexVol, Lun, LunMap, Snapshot
from breezeblock.ontapsim.resources.common import Lookup, policy_named
from breezeblock.ontapsim.rest import Call, Identity, Resource

SMALLEST = 20 * names.MIB
GUARANTEES = ("none", "volume")
STATES = ("online", "offline", "restricted")


def _records(call: Call) -> list[Document]:
    state = call.array.state
    lookup = Lookup(call.array)
    aggregates = {aggregate.uuid: aggregate for aggregate in state.all(Aggregate)}
    luns = state.all(Lun)
    return [
        _document(call, volume, lookup, aggregates[volume.aggregate], luns)
        for volume in state.all(FlexVol)
        if call.sees(volume.svm)
    ]


def _document(
    call: Call, volume: FlexVol, lookup: Lookup, aggregate: Aggregate, luns: list[Lun]
) -> Document:
    room = space.of_volume(call.array, volume, luns)
    policy = lookup.policy(volume.qos_policy).get("qos_policy")
    return {
        "uuid": volume.uuid,
        "name": volume.name,
        "svm": lookup.svm(volume.svm),
        "type": "rw",
        "style": "flexvol",
        "state": volume.state,
        "is_svm_root": False,
        "create_time": volume.created,
        "language": lookup.svms[volume.svm].language,
        "size": volume.size,
        "aggregates": [{"name": aggregate.name, "uuid": aggregate.uuid}],
        "error_state": {"is_inconsistent": False, "has_bad_blocks": False},
        "guarantee": {"type": volume.guarantee, "honored": True},
        "snapshot_policy": {"name": "none"},
        "snapshot_directory_access_enabled": volume.snapshot_directory,
        "encryption": {"enabled": volume.encryption},
        "space": {
            "size": volume.size,
            "afs_total": room.afs_total,
            "available": room.available,
            "used": room.used,
            "snapshot": {
                "reserve_percent": volume.snapshot_reserve_percent,
                "reserve_size": room.reserve,
                "used": room.snapshots,
            },
        },
        "efficiency": {
            "state": "enabled" if volume.deduplication else "disabled",
            "dedupe": "background" if volume.deduplication else "none",
            "compression": "inline" if volume.compression else "none",
            "volume_path": f"/vol/{volume.name}",
        },
        **({"nas": {"path": volume.junction}} if volume.junction else {}),
        **({"comment": volume.comment} if volume.comment else {}),
        **({"qos": {"policy": policy}} if policy else {}),
    }


def _create(call: Call) -> Identity:
    array, body = call.array, call.body
    svm = call.svm()
    name = names.object_name(body.need("name"))
    _free(call, svm.uuid, name)
    aggregate = _aggregate(call)
    volume = FlexVol(
        uuid=str(uuid4()),
        name=name,
        svm=svm.uuid,
        aggregate=aggregate.uuid,
        size=_size(call) or SMALLEST,
        guarantee=body.choice("guarantee.type", GUARANTEES) or "volume",
        junction=_junction(call, svm.uuid),
        snapshot_reserve_percent=body.number("space.snapshot.reserve_percent") or 0,
        deduplication=body.text("efficiency.dedupe") not in (None, "none"),
        compression=body.text("efficiency.compression") not in (None, "none"),
        encryption=body.flag("encryption.enabled") or False,
        snapshot_directory=body.flag("snapshot_directory_access_enabled") is not False,
        created=timestamp(),
        comment=names.comment(body.text("comment") or ""),
        qos_policy=policy_named(array, svm.uuid, body, "qos.policy"),
    )
    _fits(call, volume, volume.size)
    array.state.put(volume)
    folder = array.layout.flexvol(volume.uuid)
    array.otherwise(lambda: shutil.rmtree(folder, ignore_errors=True))
    array.layout.make(volume)
    return (volume.uuid,)


def _free(call: Call, svm: str, name: str) -> None:
    if call.array.of_svm(FlexVol, svm, name):
        raise errors.duplicate(f'A volume "{name}" exists already.', "name")


def _aggregate(call: Call) -> Aggregate:
    parts = list(call.body.parts("aggregates"))
    if len(parts) != 1:
        raise errors.required("aggregates.name")
    name, uuid = parts[0].text("name"), parts[0].text("uuid")
    for aggregate in call.array.state.all(Aggregate):
        if name == aggregate.name or uuid == aggregate.uuid:
            return aggregate
    raise ApiError(404, "787140", f'No aggregate "{name or uuid}".', "aggregates.name")


def _size(call: Call) -> int | None:
    name = "size" if call.body.has("size") else "space.size"
    size = call.body.size(name)
    if size is not None and size < SMALLEST:
        raise ApiError(400, "917824", f"A volume has {SMALLEST} bytes at least.", name)
    return size


def _junction(call: Call, svm: str) -> str | None:
    path = call.body.text("nas.path")
    if not path:
        return None
    if not re.fullmatch(r"(/[^/\s]+)+", path):
        raise errors.invalid("nas.path", path)
    for other in call.array.state.all(FlexVol):
        if other.svm == svm and other.junction == path:
            raise ApiError(409, "917525", f'"{path}" is in use already.', "nas.path")
    return path


def _fits(call: Call, volume: FlexVol, more: int) -> None:
    """A FlexVol with a guarantee takes all its space from the aggregate at once."""
    aggregate = call.array.aggregate_of(volume)
    free = aggregate.size - space.of_aggregate(call.array, aggregate)
    if volume.guarantee == "volume" and more > free:
        text = f'There is not enough space in aggregate "{aggregate.name}".'
        raise ApiError(400, "917534", text, "size")


def _modify(call: Call, found: Document) -> None:
    array, body = call.array, call.body
    volume = array.state.get(FlexVol, found["uuid"])
    size, name = _size(call), body.text("name")
    if size is not None:
        room = space.of_volume(array, volume)
        if size < room.used + room.snapshots:
            raise errors.no_space(volume.name)
        _fits(call, volume, size - volume.size)
        volume = replace(volume, size=size)
    if name and name != volume.name:
        _free(call, volume.svm, names.object_name(name))
        volume = replace(volume, name=name)
    if body.has("nas.path") and body.text("nas.path") != volume.junction:
        volume = replace(volume, junction=_junction(call, volume.svm))
    if body.has("comment"):
        volume = replace(volume, comment=names.comment(body.text("comment") or ""))
    if body.has("qos.policy"):
        policy = policy_named(array, volume.svm, body, "qos.policy")
        volume = replace(volume, qos_policy=policy)
    shown = body.flag("snapshot_directory_access_enabled")
    array.state.put(
        replace(
            volume,
            guarantee=body.choice("guarantee.type", GUARANTEES) or volume.guarantee,
            state=body.choice("state", STATES) or volume.state,
            snapshot_directory=volume.snapshot_directory if shown is None else shown,
        )
    )


def _remove(call: Call, found: Document) -> None:
    array = call.array
    volume = array.state.get(FlexVol, found["uuid"])
    luns = [lun for lun in array.state.all(Lun) if volume.uuid in (lun.volume, lun.folder)]
    mapped = {mapping.lun for mapping in array.state.all(LunMap)}
    if any(lun.uuid in mapped or lun.folder != lun.volume for lun in luns):
        text = f'Volume "{volume.name}" has LUNs that are mapped or are being moved.'
        raise ApiError(409, "917536", text)
    for lun in luns:
        array.state.drop(lun)
    folders = [array.layout.flexvol(volume.uuid)]
    for snapshot in array.state.all(Snapshot):
        if snapshot.volume == volume.uuid:
            array.state.drop(snapshot)
            folders.append(array.layout.snapshot(snapshot.uuid))
    array.state.drop(volume)
    array.afterwards(lambda: _clear(folders))


def _clear(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


RESOURCE = Resource(
    path="/storage/volumes",
    fields=(
        "uuid name svm type style state is_svm_root create_time language size aggregates"
        " error_state guarantee snapshot_policy snapshot_directory_access_enabled encryption"
        " space efficiency nas comment qos snaplock tiering autosize consistency_group clone"
        " movement metric statistics"
    ),
    keys=("uuid", "name"),
    records=_records,
    create=_create,
    modify=_modify,
    remove=_remove,
    jobs=("POST", "PATCH", "DELETE"),
    missing=errors.no_such_volume_uuid,
)
ROUTES = RESOURCE.routes()
