"""LUNs: /storage/luns."""

from __future__ import annotations

from breezeblock.ontapsim import errors, files, space
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Aggregate, Igroup, Lun, LunMap, Node, Transfer
from breezeblock.ontapsim.resources import lun_create, lun_modify
from breezeblock.ontapsim.resources.common import Lookup
from breezeblock.ontapsim.resources.lun_maps import unmap
from breezeblock.ontapsim.rest import Call, Resource

ALLOW = "allow_delete_while_mapped"


class _Lookup(Lookup):
    def __init__(self, array: Array) -> None:
        super().__init__(array)
        self.nodes = {node.uuid: node for node in array.state.all(Node)}
        self.aggregates = {a.uuid: a for a in array.state.all(Aggregate)}
        self.igroups = {group.uuid: group for group in array.state.all(Igroup)}
        self.maps: dict[str, list[LunMap]] = {}
        for mapping in array.state.all(LunMap):
            self.maps.setdefault(mapping.lun, []).append(mapping)


def records(call: Call) -> list[Document]:
    state = call.array.state
    one = call.params.get("uuid")
    luns = [lun for lun in [state.find(Lun, one)] if lun] if one else state.all(Lun)
    lookup = _Lookup(call.array)
    return [document(call.array, lun, lookup) for lun in luns if call.sees(lun.svm)]


def document(array: Array, lun: Lun, lookup: _Lookup) -> Document:
    volume = lookup.volumes[lun.volume]
    node = lookup.nodes[lookup.aggregates[volume.aggregate].node]
    maps = lookup.maps.get(lun.uuid, [])
    used = space.lun_used(array, lun)
    return {
        "uuid": lun.uuid,
        "name": path(lun, volume.name),
        "svm": lookup.svm(lun.svm),
        "class": "regular",
        "create_time": lun.created,
        "enabled": lun.enabled,
        "os_type": lun.os_type,
        "serial_number": lun.serial,
        "serial_number_hex": lun.serial.encode().hex(),
        "location": {
            "logical_unit": lun.name,
            "node": {"name": node.name, "uuid": node.uuid},
            "volume": lookup.volume(lun.volume),
        },
        "space": {
            "size": lun.size,
            "used": used,
            "physical_used": used,
            "guarantee": {"requested": lun.reserved, "reserved": lun.reserved},
            "scsi_thin_provisioning_support_enabled": lun.thin,
        },
        "status": {
            "container_state": "online",
            "mapped": bool(maps),
            "read_only": False,
            "state": "online" if lun.enabled else "offline",
        },
        "auto_delete": lun.auto_delete,
        **({"comment": lun.comment} if lun.comment else {}),
        **lookup.policy(lun.qos_policy),
        **({"lun_maps": [_map(mapping, lookup) for mapping in maps]} if maps else {}),
        **({"attributes": _attributes(lun)} if lun.attributes else {}),
        **({"movement": _movement(array, lun, volume.name)} if lun.move else {}),
        **({"copy": {"source": _source(array, lun.copy)}} if lun.copy else {}),
    }


def path(lun: Lun, volume: str) -> str:
    return f"/vol/{volume}/{lun.name}"


def _attributes(lun: Lun) -> list[Document]:
    return [{"name": name, "value": value} for name, value in lun.attributes.items()]


def _map(mapping: LunMap, lookup: _Lookup) -> Document:
    group = lookup.igroups[mapping.igroup]
    return {
        "igroup": {"name": group.name, "uuid": group.uuid},
        "logical_unit_number": mapping.number,
    }


def _movement(array: Array, lun: Lun, volume: str) -> Document:
    assert lun.move is not None
    paths = {"source": lun.move.source, "destination": path(lun, volume)}
    return {"paths": paths, "progress": _progress(array, lun.move)}


def _source(array: Array, copy: Transfer) -> Document:
    return {"name": copy.source, "uuid": copy.source_lun, "progress": _progress(array, copy)}


def _progress(array: Array, transfer: Transfer) -> Document:
    elapsed = max(0.0, array.now() - transfer.started)
    whole = max(transfer.due - transfer.started, 0.001)
    done = transfer.state == "complete"
    return {
        "state": transfer.state,
        "elapsed": int(elapsed),
        "percent_complete": 100 if done else min(99, int(100 * elapsed / whole)),
        **(
            {"failure": {"code": "5440509", "message": transfer.failure}}
            if transfer.failure
            else {}
        ),
    }


def _remove(call: Call, found: Document) -> None:
    array = call.array
    lun = array.state.get(Lun, found["uuid"])
    maps = [mapping for mapping in array.state.all(LunMap) if mapping.lun == lun.uuid]
    if maps and not call.query.flag(ALLOW, False):
        text = f'LUN "{found["name"]}" is mapped. Unmap it, or use {ALLOW}.'
        raise ApiError(409, "1254197", text)
    for mapping in maps:
        unmap(array, mapping)
    array.state.drop(lun)
    file = array.layout.lun(lun)
    array.afterwards(lambda: files.remove(file))


RESOURCE = Resource(
    path="/storage/luns",
    fields=(
        "uuid name svm class create_time enabled os_type serial_number serial_number_hex location"
        " space status auto_delete comment qos_policy lun_maps attributes movement copy clone"
        " consistency_group metric statistics provisioning_options"
    ),
    costly=("attributes", "auto_delete", "copy", "lun_maps", "movement", "space.physical_used"),
    options=(ALLOW,),
    records=records,
    create=lun_create.create,
    modify=lun_modify.modify,
    remove=_remove,
    missing=errors.no_such_lun,
)
ROUTES = RESOURCE.routes()
