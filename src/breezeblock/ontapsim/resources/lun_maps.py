"""Which igroup sees which LUN, and under which number: /protocols/san/lun-maps."""

from __future__ import annotations

from breezeblock.ontapsim import errors, names
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import FlexVol, Igroup, Lun, LunMap
from breezeblock.ontapsim.resources.common import Lookup
from breezeblock.ontapsim.rest import Call, Identity, Resource

FIRST_NUMBER, LAST_NUMBER = 1, 4095
"""ONTAP would begin at 0; what serves our LUNs keeps that number for itself."""


def _records(call: Call) -> list[Document]:
    state = call.array.state
    lookup = Lookup(call.array)
    luns = {lun.uuid: lun for lun in state.all(Lun)}
    groups = {group.uuid: group for group in state.all(Igroup)}
    return [
        _document(m, luns[m.lun], groups[m.igroup], lookup)
        for m in state.all(LunMap)
        if call.sees(m.svm)
    ]


def _document(mapping: LunMap, lun: Lun, group: Igroup, lookup: Lookup) -> Document:
    volume = lookup.volumes[lun.volume]
    igroup: Document = {
        "uuid": group.uuid,
        "name": group.name,
        "os_type": group.os_type,
        "protocol": group.protocol,
    }
    if group.initiators:
        igroup["initiators"] = [initiator.name for initiator in group.initiators]
    return {
        "svm": lookup.svm(mapping.svm),
        "lun": {
            "uuid": lun.uuid,
            "name": f"/vol/{volume.name}/{lun.name}",
        },
        "igroup": igroup,
        "logical_unit_number": mapping.number,
    }


def _create(call: Call) -> Identity:
    array, body = call.array, call.body
    svm = call.svm()
    lun = _lun(call, svm.uuid)
    name, uuid = body.text("igroup.name"), body.text("igroup.uuid")
    if not name and not uuid:
        raise errors.required("igroup.name")
    try:
        group = array.igroup(svm.uuid, name, uuid)
    except ApiError:
        text = f'The initiator group "{name or uuid}" does not exist.'
        raise ApiError(404, "5374878", text, "igroup.name") from None
    if array.state.find(LunMap, f"{lun.uuid}/{group.uuid}"):
        raise ApiError(409, "1254207", "The LUN is mapped to this initiator group already.")
    number = _number(array, lun, group, body.number("logical_unit_number"))
    array.state.put(
        LunMap(
            uuid=f"{lun.uuid}/{group.uuid}",
            svm=svm.uuid,
            lun=lun.uuid,
            igroup=group.uuid,
            number=number,
        )
    )
    return (lun.uuid, group.uuid)


def _lun(call: Call, svm: str) -> Lun:
    name, uuid = call.body.text("lun.name"), call.body.text("lun.uuid")
    lun = None
    if uuid:
        lun = call.array.state.find(Lun, uuid)
    elif name:
        parts = names.lun_path(name, "lun.name")
        volume = call.array.of_svm(FlexVol, svm, parts.volume)
        lun = call.array.lun_named(volume.uuid, parts.lun) if volume else None
    else:
        raise errors.required("lun.name")
    if lun is None or lun.svm != svm:
        raise ApiError(404, "1254201", f'LUN "{name or uuid}" does not exist.', "lun.name")
    return lun


def _number(array: Array, lun: Lun, group: Igroup, wanted: int | None) -> int:
    """The lowest that no initiator of the igroup has for another LUN, or the one asked for."""
    taken = set()
    for mapping, other in neighbours(array, group):
        if mapping.lun == lun.uuid:
            both = {i.name for i in other.initiators} & {i.name for i in group.initiators}
            text = f"{', '.join(sorted(both))} would see the LUN twice."
            raise ApiError(409, "1254193", text)
        taken.add(mapping.number)
    if wanted is None:
        free = (n for n in range(FIRST_NUMBER, LAST_NUMBER + 1) if n not in taken)
        found = next(free, None)
        if found is None:
            raise ApiError(409, "1254324", "No logical unit number is free.")
        return found
    if not FIRST_NUMBER <= wanted <= LAST_NUMBER:
        raise errors.invalid("logical_unit_number", wanted)
    if wanted in taken:
        text = f"An initiator has another LUN with number {wanted}."
        raise ApiError(409, "1254324", text, "logical_unit_number")
    return wanted


def neighbours(array: Array, group: Igroup) -> list[tuple[LunMap, Igroup]]:
    """The maps that initiators of this igroup see: its own, and those of groups they are in too."""
    mine = {initiator.name for initiator in group.initiators}
    groups = {
        other.uuid: other
        for other in array.state.all(Igroup)
        if other.svm == group.svm
        and (other.uuid == group.uuid or mine & {i.name for i in other.initiators})
    }
    maps = array.state.all(LunMap)
    return [(m, groups[m.igroup]) for m in maps if m.igroup in groups]


def unmap(array: Array, mapping: LunMap) -> None:
    """Take the map away, and its igroup if that was to go with the last one."""
    array.state.drop(mapping)
    group = array.state.get(Igroup, mapping.igroup)
    left = any(other.igroup == group.uuid for other in array.state.all(LunMap))
    if group.delete_on_unmap and not left:
        array.state.drop(group)


def _remove(call: Call, found: Document) -> None:
    key = f"{found['lun']['uuid']}/{found['igroup']['uuid']}"
    unmap(call.array, call.array.state.get(LunMap, key))


def _missing(_: str) -> ApiError:
    return ApiError(404, "5374922", "The LUN map does not exist.", "igroup.uuid")


RESOURCE = Resource(
    path="/protocols/san/lun-maps",
    fields="svm lun igroup logical_unit_number reporting_nodes",
    identity=("lun.uuid", "igroup.uuid"),
    keys=("lun.uuid", "lun.name", "igroup.uuid", "igroup.name", "svm"),
    records=_records,
    create=_create,
    remove=_remove,
    missing=_missing,
)
ROUTES = RESOURCE.routes()
