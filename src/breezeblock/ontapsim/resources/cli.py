"""The commands of ONTAP's CLI that clients reach through REST: /private/cli.

Names have dashes in requests and underscores in answers.
"""

from __future__ import annotations

from dataclasses import replace

from breezeblock.ontapsim import errors, files, folders
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import FlexVol, Lun, Snapshot, Svm
from breezeblock.ontapsim.names import TIB
from breezeblock.ontapsim.query import Query
from breezeblock.ontapsim.resources.files import clone
from breezeblock.ontapsim.resources.lun_create import clone_lun
from breezeblock.ontapsim.rest import Call, Reply, Resource, Route
from breezeblock.ontapsim.space import of_volume

SHARED_BLOCKS_LIMIT = 640 * TIB


def _efficiency(call: Call) -> list[Document]:
    svms = {svm.uuid: svm.name for svm in call.array.state.all(Svm)}
    return [
        {
            "vserver": svms[volume.svm],
            "volume": volume.name,
            "state": "enabled",
            "logical_data_size": of_volume(call.array, volume).used,
            "logical_data_limit": SHARED_BLOCKS_LIMIT,
        }
        for volume in call.array.state.all(FlexVol)
        if call.sees(volume.svm) and volume.deduplication
    ]


EFFICIENCY = Resource(
    path="/private/cli/volume/efficiency",
    fields="vserver volume state logical_data_size logical_data_limit",
    identity=("vserver", "volume"),
    keys=("vserver", "volume"),
    records=_efficiency,
)


def _with_underscores(call: Call) -> Reply:
    pairs = (
        (name.replace("-", "_"), value.replace("-", "_") if name == "fields" else value)
        for name, value in call.query.pairs
    )
    return EFFICIENCY.listing(replace(call, query=Query(tuple(pairs))))


def _disk_usage(call: Call) -> Reply:
    """The bytes that only this file has: all, as the simulator's files share none."""
    path = call.query.get("path") or ""
    parts = path.split("/", 3)
    if len(parts) != 4 or parts[:2] != ["", "vol"]:
        raise errors.invalid("path", path)
    svm = _svm(call, call.query.get("vserver"))
    volume = call.array.volume(svm.uuid, parts[2], "path")
    found = folders.locate(call.array, volume, parts[3])
    if not found.is_file():
        raise ApiError(404, "917806", f'No such file: "{path}".', "path")
    used = -(-files.used(found) // 1024)
    return Reply(body={"vserver": svm.name, "path": path, "unique_bytes": f"{used}KB"})


def _svm(call: Call, name: str | None) -> Svm:
    if not name:
        if call.scope.svm is None:
            raise errors.required("vserver")
        return call.scope.svm
    svm = call.array.svm(name, target="vserver")
    if not call.sees(svm.uuid):
        raise errors.no_such_svm(name, "vserver")
    return svm


def _clone(call: Call) -> Reply:
    """A clone of a file as it was in a snapshot, also where hosts do not see `.snapshot`."""
    body = call.body
    body.only(
        [
            "vserver",
            "volume",
            "source-path",
            "destination-path",
            "snapshot-name",
            "is-backup",
            "no-reserve",
            "overwrite-destination",
            "qos-policy-group",
            "qos-adaptive-policy-group",
        ]
    )
    svm = _svm(call, body.text("vserver"))
    volume = call.array.volume(svm.uuid, body.need("volume"), "volume")
    prefix = f"/vol/{volume.name}/"
    place = body.need("source-path").removeprefix(prefix).strip("/")
    target = body.need("destination-path").removeprefix(prefix).strip("/")
    snapshot = body.text("snapshot-name")
    lun = _lun(call, volume, place, snapshot)
    if lun:
        clone_lun(call, volume, *lun, target)
        return Reply(201)
    found = (
        folders.in_snapshot(call.array, volume, snapshot, place)
        if snapshot
        else folders.existing(call.array, volume, place)
    )
    overwrite = body.flag("overwrite-destination") or False
    clone(call, volume, folders.regular(found, place), target, overwrite)
    return Reply(201)


def _lun(
    call: Call, volume: FlexVol, name: str, snapshot: str | None
) -> tuple[Lun, Snapshot | None] | None:
    """The LUN of that name, as it is or as it was; to the CLI it is a file like others."""
    if not snapshot:
        lun = call.array.lun_named(volume.uuid, name)
        return (lun, None) if lun else None
    for taken in call.array.state.named(Snapshot, snapshot):
        for lun in taken.luns:
            if taken.volume == volume.uuid and lun.name == name:
                return lun, taken
    return None


ROUTES = [
    Route("GET", EFFICIENCY.path, _with_underscores),
    Route("GET", "/private/cli/volume/file/show-disk-usage", _disk_usage),
    Route("POST", "/private/cli/volume/file/clone", _clone),
]
