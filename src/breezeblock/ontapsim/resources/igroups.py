"""Groups of initiators: /protocols/san/igroups and their initiators."""

from __future__ import annotations

from uuid import uuid4

from msgspec.structs import replace

from breezeblock.ontapsim import errors, names
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Body, Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import FlexVol, Igroup, Initiator, Lun, LunMap
from breezeblock.ontapsim.resources.common import Lookup
from breezeblock.ontapsim.resources.lun_maps import neighbours
from breezeblock.ontapsim.rest import Call, Identity, Resource

ALLOW = "allow_delete_while_mapped"


def _records(call: Call) -> list[Document]:
    state = call.array.state
    lookup = Lookup(call.array)
    luns = {lun.uuid: lun for lun in state.all(Lun)}
    maps: dict[str, list[LunMap]] = {}
    for mapping in state.all(LunMap):
        maps.setdefault(mapping.igroup, []).append(mapping)
    return [
        _document(group, lookup, maps.get(group.uuid, []), luns)
        for group in state.all(Igroup)
        if call.sees(group.svm)
    ]


def _document(group: Igroup, lookup: Lookup, maps: list[LunMap], luns: dict[str, Lun]) -> Document:
    initiators = [_initiator(initiator) for initiator in group.initiators]
    seen = [_map(mapping, luns[mapping.lun], lookup.volumes) for mapping in maps]
    return {
        "uuid": group.uuid,
        "name": group.name,
        "svm": lookup.svm(group.svm),
        "protocol": group.protocol,
        "os_type": group.os_type,
        "delete_on_unmap": group.delete_on_unmap,
        **({"comment": group.comment} if group.comment else {}),
        **({"initiators": initiators} if initiators else {}),
        **({"lun_maps": seen} if seen else {}),
    }


def _initiator(initiator: Initiator) -> Document:
    comment = {"comment": initiator.comment} if initiator.comment else {}
    return {"name": initiator.name, **comment}


def _map(mapping: LunMap, lun: Lun, volumes: dict[str, FlexVol]) -> Document:
    name = f"/vol/{volumes[lun.volume].name}/{lun.name}"
    return {
        "logical_unit_number": mapping.number,
        "lun": {"name": name, "uuid": lun.uuid},
    }


def _create(call: Call) -> Identity:
    array, body = call.array, call.body
    svm = call.svm()
    name = names.igroup_name(body.need("name"))
    if array.of_svm(Igroup, svm.uuid, name):
        text = f'The initiator group "{name}" exists already.'
        raise ApiError(409, "5374023", text, "name")
    protocol = body.choice("protocol", names.PROTOCOLS) or "mixed"
    os_type = body.choice("os_type", names.IGROUP_OS_TYPES)
    if os_type is None:
        raise errors.required("os_type")
    group = Igroup(
        uuid=str(uuid4()),
        name=name,
        svm=svm.uuid,
        protocol=protocol,
        os_type=os_type,
        comment=names.comment(body.text("comment") or ""),
        delete_on_unmap=body.flag("delete_on_unmap") or False,
    )
    for part in body.parts("initiators"):
        group = _added(array, group, part)
    array.state.put(group)
    return (group.uuid,)


def _added(array: Array, group: Igroup, part: Body) -> Igroup:
    """The igroup with one initiator more."""
    part.only(("name", "comment", "_links"))
    name = names.initiator(part.need("name"), group.protocol)
    if any(initiator.name == name for initiator in group.initiators):
        text = f'"{name}" is in the initiator group already.'
        raise ApiError(409, "5374035", text, "name")
    added = Initiator(name=name, comment=names.comment(part.text("comment") or ""))
    result = replace(group, initiators=[*group.initiators, added])
    _check_numbers(array, result)
    return result


def _check_numbers(array: Array, group: Igroup) -> None:
    """An initiator in several igroups sees each LUN once, and one LUN under each number."""
    own = {m.number: m.lun for m, other in neighbours(array, group) if other.uuid == group.uuid}
    for mapping, other in neighbours(array, group):
        if other.uuid == group.uuid:
            continue
        if mapping.lun in own.values():
            raise ApiError(409, "1254193", "An initiator would see a LUN twice.", "name")
        if mapping.number in own:
            text = f"An initiator has another LUN with number {mapping.number}."
            raise ApiError(409, "1254324", text, "name")


def _modify(call: Call, found: Document) -> None:
    array, body = call.array, call.body
    group = array.state.get(Igroup, found["uuid"])
    name = body.text("name")
    if name and name != group.name:
        if array.of_svm(Igroup, group.svm, names.igroup_name(name)):
            text = f'The initiator group "{name}" exists already.'
            raise ApiError(409, "5374023", text, "name")
        group = replace(group, name=name)
    os_type = body.choice("os_type", names.IGROUP_OS_TYPES)
    if os_type:
        group = replace(group, os_type=os_type)
    if body.has("comment"):
        group = replace(group, comment=names.comment(body.text("comment") or ""))
    flag = body.flag("delete_on_unmap")
    if flag is not None:
        group = replace(group, delete_on_unmap=flag)
    array.state.put(group)


def _remove(call: Call, found: Document) -> None:
    state = call.array.state
    group = state.get(Igroup, found["uuid"])
    maps = [mapping for mapping in state.all(LunMap) if mapping.igroup == group.uuid]
    if maps and not call.query.flag(ALLOW, False):
        text = f'"{group.name}" has LUNs mapped. Unmap them, or use {ALLOW}.'
        raise ApiError(409, "1254213", text)
    for mapping in maps:
        state.drop(mapping)
    state.drop(group)


def _group(call: Call) -> Igroup:
    group = call.array.state.find(Igroup, call.params["igroup"])
    if group is None or not call.sees(group.svm):
        raise errors.no_such_igroup(call.params["igroup"], "igroup.uuid")
    return group


def _members(call: Call) -> list[Document]:
    group = _group(call)
    igroup = {"uuid": group.uuid, "name": group.name}
    return [_initiator(initiator) | {"igroup": igroup} for initiator in group.initiators]


def _add(call: Call) -> Identity:
    group = _added(call.array, _group(call), call.body)
    call.array.state.put(group)
    return (group.initiators[-1].name,)


def _comment(call: Call, found: Document) -> None:
    group = _group(call)
    text = names.comment(call.body.text("comment") or "")
    members = [replace(i, comment=text) if i.name == found["name"] else i for i in group.initiators]
    call.array.state.put(replace(group, initiators=members))


def _take_out(call: Call, found: Document) -> None:
    group = _group(call)
    mapped = any(m.igroup == group.uuid for m in call.array.state.all(LunMap))
    if mapped and not call.query.flag(ALLOW, False):
        text = f"The initiator group has LUNs mapped. Unmap them, or use {ALLOW}."
        raise ApiError(409, "1254212", text)
    members = [initiator for initiator in group.initiators if initiator.name != found["name"]]
    call.array.state.put(replace(group, initiators=members))


def _missing(identity: str) -> ApiError:
    return errors.no_such_igroup(identity, "uuid")


IGROUPS = Resource(
    path="/protocols/san/igroups",
    fields=("uuid name svm protocol os_type delete_on_unmap comment initiators lun_maps"),
    keys=("uuid", "name", "svm"),
    costly=("lun_maps",),
    options=(ALLOW,),
    records=_records,
    create=_create,
    modify=_modify,
    remove=_remove,
    missing=_missing,
)
MEMBERS = Resource(
    path="/protocols/san/igroups/{igroup}/initiators",
    fields="name comment igroup",
    identity=("name",),
    keys=("name", "igroup"),
    options=(ALLOW,),
    records=_members,
    create=_add,
    modify=_comment,
    remove=_take_out,
    missing=lambda name: ApiError(404, "5374850", f'"{name}" is not in the group.', "name"),
)
ROUTES = [*IGROUPS.routes(), *MEMBERS.routes()]
