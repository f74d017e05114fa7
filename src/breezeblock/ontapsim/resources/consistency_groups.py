"""Consistency groups and their snapshots: /application/consistency-groups."""

from __future__ import annotations

from uuid import uuid4

from breezeblock.ontapsim import errors, names
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.clock import timestamp
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import FlexVol, Group, GroupSnapshot, Snapshot
from breezeblock.ontapsim.resources import snapshots
from breezeblock.ontapsim.resources.common import Lookup
from breezeblock.ontapsim.rest import Call, Identity, Resource


def _records(call: Call) -> list[Document]:
    lookup = Lookup(call.array)
    return [
        {
            "uuid": group.uuid,
            "name": group.name,
            "svm": lookup.svm(group.svm),
            "volumes": [lookup.volume(uuid) for uuid in group.volumes if uuid in lookup.volumes],
        }
        for group in call.array.state.all(Group)
        if call.sees(group.svm)
    ]


def _create(call: Call) -> Identity:
    array = call.array
    svm = call.svm()
    name = names.plain_name(call.body.need("name"))
    if array.of_svm(Group, svm.uuid, name):
        raise ApiError(409, "53411860", f'Group "{name}" exists already.', "name")
    volumes = []
    for part in call.body.parts("volumes"):
        if part.choice("provisioning_options.action", ("add", "create")) != "add":
            raise errors.invalid("volumes.provisioning_options.action", "create")
        uuid, title = part.text("uuid"), part.text("name")
        volume = (
            array.volume_by_uuid(uuid, svm.uuid)
            if uuid
            else array.volume(svm.uuid, title or "", "volumes.name")
        )
        if any(volume.uuid in group.volumes for group in array.state.all(Group)):
            text = f'Volume "{volume.name}" is in a consistency group already.'
            raise ApiError(409, "53412057", text, "volumes.name")
        volumes.append(volume.uuid)
    if not volumes:
        raise errors.required("volumes")
    group = Group(uuid=str(uuid4()), name=name, svm=svm.uuid, volumes=volumes)
    array.state.put(group)
    return (group.uuid,)


def _remove(call: Call, found: Document) -> None:
    """The FlexVols and their snapshots stay."""
    state = call.array.state
    for taken in state.all(GroupSnapshot):
        if taken.group == found["uuid"]:
            state.drop(taken)
    state.drop(state.get(Group, found["uuid"]))


def _group(call: Call) -> Group:
    group = call.array.state.find(Group, call.params["group"])
    if group is None or not call.sees(group.svm):
        raise _missing(call.params["group"])
    return group


def _missing(uuid: str) -> ApiError:
    return ApiError(404, "53411842", f'No consistency group "{uuid}".', "uuid")


def _taken(call: Call) -> list[Document]:
    group = _group(call)
    return [
        {
            "uuid": taken.uuid,
            "name": taken.name,
            "consistency_group": {"uuid": group.uuid, "name": group.name},
            "consistency_type": taken.consistency,
            "create_time": taken.created,
            **({"comment": taken.comment} if taken.comment else {}),
        }
        for taken in call.array.state.all(GroupSnapshot)
        if taken.group == group.uuid
    ]


def _take(call: Call) -> Identity:
    array, group = call.array, _group(call)
    name = names.plain_name(call.body.need("name"))
    comment = names.comment(call.body.text("comment") or "")
    kind = call.body.choice("consistency_type", ("crash", "application")) or "crash"
    volumes = [array.state.get(FlexVol, uuid) for uuid in group.volumes]
    try:
        made = snapshots.take(array, volumes, name, comment)
    except ApiError as error:
        raise ApiError(error.status, "53411921", error.message, "name") from None
    taken = GroupSnapshot(
        uuid=str(uuid4()),
        name=name,
        group=group.uuid,
        created=timestamp(),
        consistency=kind,
        comment=comment,
        snapshots=[snapshot.uuid for snapshot in made],
    )
    array.state.put(taken)
    return (taken.uuid,)


def _drop(call: Call, found: Document) -> None:
    state = call.array.state
    taken = state.get(GroupSnapshot, found["uuid"])
    for uuid in taken.snapshots:
        snapshot = state.find(Snapshot, uuid)
        if snapshot:
            snapshots.drop(call.array, snapshot)
    state.drop(taken)


GROUPS = Resource(
    path="/application/consistency-groups",
    fields="uuid name svm volumes luns snapshot_policy consistency_groups",
    records=_records,
    create=_create,
    remove=_remove,
    jobs=("POST", "DELETE"),
    missing=_missing,
)
SNAPSHOTS = Resource(
    path="/application/consistency-groups/{group}/snapshots",
    fields="uuid name consistency_group consistency_type create_time comment snapmirror_label",
    options=("action", "action_timeout"),
    records=_taken,
    create=_take,
    remove=_drop,
)
ROUTES = [*GROUPS.routes(), *SNAPSHOTS.routes()]
