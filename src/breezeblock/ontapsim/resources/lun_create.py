"""How a LUN comes to be: new and empty, as a clone in its FlexVol, or as a copy into another."""

from __future__ import annotations

from uuid import uuid4

from msgspec.structs import replace

from breezeblock.ontapsim import errors, files, names, space
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Body
from breezeblock.ontapsim.clock import timestamp
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import FlexVol, Lun, Snapshot, Svm
from breezeblock.ontapsim.resources.common import policy_named
from breezeblock.ontapsim.resources.lun_attributes import attributes
from breezeblock.ontapsim.rest import Call, Identity
from breezeblock.ontapsim.transfers import begin

NOT_OF_CLONES = ("os_type", "space.size", "attributes")


def create(call: Call) -> Identity:
    svm = call.svm()
    volume, name = _place(call, svm)
    check_free(call.array, volume, name)
    if call.body.has("clone.source"):
        lun = _clone(call, volume, name)
    elif call.body.has("copy.source"):
        lun = _copy(call, svm, volume, name)
    else:
        lun = _new(call, volume, name)
    call.array.state.put(lun)
    return (lun.uuid,)


def _place(call: Call, svm: Svm) -> tuple[FlexVol, str]:
    """The FlexVol and the name that a body asks for."""
    path = call.body.text("name")
    if path:
        parts = names.lun_path(path)
        if parts.snapshot:
            raise ApiError(400, "5374862", "A LUN cannot be made in a snapshot.", "name")
        return call.array.volume(svm.uuid, parts.volume), parts.lun
    name = names.lun_name(call.body.need("location.logical_unit"), "location.logical_unit")
    uuid = call.body.text("location.volume.uuid")
    if uuid:
        return call.array.volume_by_uuid(uuid, svm.uuid), name
    where = "location.volume.name"
    return call.array.volume(svm.uuid, call.body.need(where), where), name


def _new(call: Call, volume: FlexVol, name: str) -> Lun:
    body = call.body
    for required in ("os_type", "space.size"):
        if body.text(required) is None:
            raise ApiError(400, "5374884", f"{required} is required for a new LUN.", required)
    os_type = body.choice("os_type", names.LUN_OS_TYPES)
    size = names.lun_size(body.size("space.size") or 0)
    reserved = body.flag("space.guarantee.requested") or False
    if reserved:
        space.need(call.array, volume, size)
    lun = Lun(
        uuid=str(uuid4()),
        name=name,
        svm=volume.svm,
        volume=volume.uuid,
        folder=volume.uuid,
        size=size,
        os_type=os_type or "linux",
        serial=names.new_serial(),
        created=timestamp(),
        comment=names.comment(body.text("comment") or ""),
        thin=body.flag("space.scsi_thin_provisioning_support_enabled") or False,
        reserved=reserved,
        qos_policy=policy_named(call.array, volume.svm, body),
        attributes=attributes(body),
        auto_delete=body.flag("auto_delete") or False,
    )
    file = call.array.layout.lun(lun)
    call.array.otherwise(lambda: files.remove(file))
    files.make(file, size)
    return lun


def _clone(call: Call, volume: FlexVol, name: str) -> Lun:
    """A clone as the body wants it."""
    body = call.body
    for refused in NOT_OF_CLONES:
        if body.has(refused):
            raise ApiError(400, "5374883", f"{refused} cannot be given for a clone.", refused)
    source, snapshot = clone_source(call.array, volume, body)
    lun = replace(
        _twin(source, volume, name),
        comment=names.comment(body.text("comment") or source.comment),
        thin=body.flag("space.scsi_thin_provisioning_support_enabled") or False,
        reserved=body.flag("space.guarantee.requested") or False,
        qos_policy=policy_named(call.array, volume.svm, body),
        auto_delete=body.flag("auto_delete") or False,
    )
    if lun.reserved:
        space.need(call.array, volume, lun.size)
    duplicate(call.array, source, snapshot, lun)
    return lun


def _twin(source: Lun, volume: FlexVol, name: str) -> Lun:
    """A new LUN with the source's size, operating system and attributes; not its policy."""
    return Lun(
        uuid=str(uuid4()),
        name=name,
        svm=volume.svm,
        volume=volume.uuid,
        folder=volume.uuid,
        size=source.size,
        os_type=source.os_type,
        serial=names.new_serial(),
        created=timestamp(),
        comment=source.comment,
        attributes=source.attributes,
    )


def clone_lun(
    call: Call, volume: FlexVol, source: Lun, snapshot: Snapshot | None, name: str
) -> None:
    """A plain clone under that name."""
    check_free(call.array, volume, names.lun_name(name, "name"))
    lun = _twin(source, volume, name)
    duplicate(call.array, source, snapshot, lun)
    call.array.state.put(lun)


def check_free(array: Array, volume: FlexVol, name: str) -> None:
    if array.lun_named(volume.uuid, name):
        text = f'A LUN "/vol/{volume.name}/{name}" exists already.'
        raise ApiError(409, "5374242", text, "name")


def clone_source(array: Array, volume: FlexVol, body: Body) -> tuple[Lun, Snapshot | None]:
    """What to clone, as it is or as it was in a snapshot. It lies in the same FlexVol."""
    uuid, path = body.text("clone.source.uuid"), body.text("clone.source.name")
    if uuid:
        found = array.state.find(Lun, uuid)
        if found is None or found.svm != volume.svm:
            raise errors.no_such_clone_source(uuid, "clone.source.uuid")
        _same_volume(found.volume == volume.uuid)
        return found, None
    target = "clone.source.name"
    parts = names.lun_path(body.need(target), target)
    _same_volume(parts.volume == volume.name)
    if not parts.snapshot:
        found = array.lun_named(volume.uuid, parts.lun)
        if found is None:
            raise errors.no_such_clone_source(str(path), target)
        return found, None
    for snapshot in array.state.named(Snapshot, parts.snapshot):
        if snapshot.volume == volume.uuid and volume.snapshot_directory:
            for lun in snapshot.luns:
                if lun.name == parts.lun:
                    return lun, snapshot
    raise errors.no_such_clone_source(str(path), target)


def _same_volume(same: bool) -> None:
    if not same:
        text = "The source of a clone must be in the same volume."
        raise ApiError(400, "13565952", text, "clone.source.name")


def duplicate(array: Array, source: Lun, snapshot: Snapshot | None, target: Lun) -> None:
    """Make the target's file from the source's contents of this moment, or of the snapshot."""
    destination = array.layout.lun(target)
    array.otherwise(lambda: files.remove(destination))
    if snapshot:
        files.copy(array.layout.snapshot_lun(snapshot.uuid, source.uuid), destination)
    else:
        with array.still():
            files.copy(array.layout.lun(source), destination)


def _copy(call: Call, svm: Svm, volume: FlexVol, name: str) -> Lun:
    """A copy of the source's contents of this moment, which takes its time."""
    body, array = call.body, call.array
    source, source_path = _copy_source(call, svm)
    move = begin(array, source, source_path)
    lun = replace(
        _twin(source, volume, name),
        comment=names.comment(body.text("comment") or source.comment),
        thin=body.flag("space.scsi_thin_provisioning_support_enabled") or False,
        reserved=body.flag("space.guarantee.requested") or False,
        qos_policy=policy_named(array, volume.svm, body),
        copy=move,
    )
    space.need(array, volume, lun.size if lun.reserved else space.lun_used(array, source))
    duplicate(array, source, None, lun)
    return lun


def _copy_source(call: Call, svm: Svm) -> tuple[Lun, str]:
    """Any LUN of the caller's: of the new LUN's SVM if two have the same path."""
    uuid, path = call.body.text("copy.source.uuid"), call.body.text("copy.source.name")
    state = call.array.state
    found: list[Lun] = []
    if uuid:
        found = [lun for lun in [state.find(Lun, uuid)] if lun and call.sees(lun.svm)]
    elif path:
        parts = names.lun_path(path, "copy.source.name")
        volumes = {v.uuid for v in state.named(FlexVol, parts.volume) if call.sees(v.svm)}
        found = [lun for lun in state.named(Lun, parts.lun) if lun.volume in volumes]
        found.sort(key=lambda lun: lun.svm != svm.uuid)
    if not found:
        raise errors.no_such_clone_source(str(path or uuid), "copy.source.name")
    volume = state.get(FlexVol, found[0].volume)
    return found[0], f"/vol/{volume.name}/{found[0].name}"
