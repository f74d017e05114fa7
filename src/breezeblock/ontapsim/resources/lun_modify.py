"""How a LUN changes: properties, size, name, contents, and its way into another FlexVol."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from breezeblock.ontapsim import files, names, space
from breezeblock.ontapsim.body import Body, Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import FlexVol, Lun
from breezeblock.ontapsim.resources.common import policy_named
from breezeblock.ontapsim.resources.lun_create import clone_source, duplicate
from breezeblock.ontapsim.rest import Call
from breezeblock.ontapsim.transfers import MOVING, begin, steer


def modify(call: Call, found: Document) -> None:
    lun = call.array.state.get(Lun, found["uuid"])
    if call.body.has("clone.source"):
        lun = _overwrite(call, lun)
    elif call.body.has("space.size"):
        lun = _resize(call, lun)
    lun = replace(lun, **_properties(call, lun))
    if call.body.text("name"):
        lun = _rename(call, lun)
    if call.body.has("movement.progress.state"):
        lun = steer(call.array, lun, call.body)
    call.array.state.put(lun)


def _properties(call: Call, lun: Lun) -> dict[str, Any]:
    body = call.body
    changes: dict[str, Any] = {
        "os_type": body.choice("os_type", names.LUN_OS_TYPES),
        "enabled": body.flag("enabled"),
        "thin": body.flag("space.scsi_thin_provisioning_support_enabled"),
        "reserved": body.flag("space.guarantee.requested"),
        "auto_delete": body.flag("auto_delete"),
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if body.has("comment"):
        changes["comment"] = names.comment(body.text("comment") or "")
    if body.has("qos_policy"):
        changes["qos_policy"] = policy_named(call.array, lun.svm, body)
    if changes.get("reserved") and not lun.reserved:
        volume = call.array.state.get(FlexVol, lun.volume)
        space.need(call.array, volume, lun.size - space.lun_used(call.array, lun))
    return changes


def _resize(call: Call, lun: Lun) -> Lun:
    size = names.lun_size(call.body.size("space.size") or 0)
    if size == lun.size:
        raise ApiError(400, "1254226", "The LUN has that size already.", "space.size")
    if size < lun.size:
        raise ApiError(400, "5374892", "A LUN does not become smaller.", "space.size")
    if lun.reserved:
        space.need(call.array, call.array.state.get(FlexVol, lun.volume), size - lun.size)
    file = call.array.layout.lun(lun)
    call.array.otherwise(lambda: files.resize(file, lun.size))
    files.resize(file, size)
    return replace(lun, size=size)


def _overwrite(call: Call, lun: Lun) -> Lun:
    """Take the contents, size and operating system of another LUN, or of this one as it was.

    UUID, serial number, maps and attributes stay.
    """
    body: Body = call.body
    for refused in ("os_type", "space.size", "name"):
        if body.has(refused):
            raise ApiError(400, "5374883", f"{refused} cannot be given for a clone.", refused)
    _not_moving(lun)
    array = call.array
    volume = array.state.get(FlexVol, lun.volume)
    source, snapshot = clone_source(array, volume, body)
    result = replace(
        lun,
        size=source.size,
        os_type=source.os_type,
        thin=False,
        generation=lun.generation + 1,
    )
    duplicate(array, source, snapshot, result)
    old = array.layout.lun(lun)
    array.afterwards(lambda: files.remove(old))
    return result


def _rename(call: Call, lun: Lun) -> Lun:
    """Another name; in another FlexVol it is a move, during which the LUN serves as ever."""
    array = call.array
    parts = names.lun_path(call.body.need("name"))
    if parts.snapshot:
        raise ApiError(400, "5374862", "A LUN cannot be moved into a snapshot.", "name")
    here = array.state.get(FlexVol, lun.volume)
    there = array.volume(lun.svm, parts.volume)
    if (there.uuid, parts.lun) == (lun.volume, lun.name):
        return lun
    if array.lun_named(there.uuid, parts.lun):
        text = f'A LUN "/vol/{there.name}/{parts.lun}" exists already.'
        raise ApiError(409, "1254196", text, "name")
    if there.uuid == here.uuid:
        return replace(lun, name=parts.lun)
    _not_moving(lun)
    space.need(array, there, lun.size if lun.reserved else space.lun_used(array, lun))
    move = begin(array, lun, f"/vol/{here.name}/{lun.name}")
    return replace(lun, volume=there.uuid, name=parts.lun, move=move)


def _not_moving(lun: Lun) -> None:
    if lun.move and lun.move.state in MOVING:
        raise ApiError(409, "5440509", "The LUN is being moved.")
