"""What hosts are to see, computed from the records: the whole of it, after each change."""

from __future__ import annotations

from collections import defaultdict

from breezeblock.ontapsim import data_plane
from breezeblock.ontapsim.layout import Layout
from breezeblock.ontapsim.model import FlexVol, Igroup, Lif, Lun, LunMap, Node, Secret, Svm
from breezeblock.ontapsim.nfs.plane import NfsSvm
from breezeblock.ontapsim.state import State

ISCSI, NFS = "data_iscsi", "data_nfs"


def lifs_up(state: State, svm: str, service: str) -> tuple[Lif, ...]:
    """The SVM's interfaces at which that service answers."""
    nodes = {node.uuid: node for node in state.all(Node)}
    return tuple(
        lif
        for lif in state.all(Lif)
        if lif.svm == svm and lif.enabled and service in lif.services and nodes[lif.node].up
    )


def luns(state: State, layout: Layout) -> tuple[data_plane.Svm, ...]:
    """The iSCSI service of every SVM, with what each initiator may use."""
    units = {
        lun.uuid: data_plane.Unit(layout.lun(lun), lun.size, lun.serial, lun.generation)
        for lun in state.all(Lun)
        if lun.enabled
    }
    groups = {group.uuid: group for group in state.all(Igroup) if group.protocol != "fcp"}
    access: dict[str, dict[str, dict[int, data_plane.Unit]]] = defaultdict(dict)
    for group in groups.values():
        for initiator in group.initiators:
            access[group.svm].setdefault(initiator.name, {})
    for mapping in state.all(LunMap):
        group_mapped = groups.get(mapping.igroup)
        if group_mapped is None or mapping.lun not in units:
            continue
        for initiator in group_mapped.initiators:
            access[mapping.svm][initiator.name][mapping.number] = units[mapping.lun]
    secrets: dict[str, dict[str, data_plane.Credential]] = defaultdict(dict)
    for secret in state.all(Secret):
        secrets[secret.svm][secret.initiator] = _credential(secret)
    return tuple(
        data_plane.Svm(
            name=svm.name,
            target=svm.target,
            portals=tuple((lif.address, svm.iscsi_port) for lif in lifs_up(state, svm.uuid, ISCSI)),
            enabled=svm.iscsi,
            credentials=secrets[svm.uuid],
            access=access[svm.uuid],
        )
        for svm in state.all(Svm)
    )


def _credential(secret: Secret) -> data_plane.Credential:
    return data_plane.Credential(
        kind=secret.kind,
        user=secret.user,
        password=secret.password,
        outbound_user=secret.outbound_user,
        outbound_password=secret.outbound_password,
    )


def shares(state: State, layout: Layout) -> tuple[NfsSvm, ...]:
    """The NFS service of every SVM: where its FlexVols are mounted."""
    return tuple(
        NfsSvm(
            name=svm.name,
            addresses=tuple(lif.address for lif in lifs_up(state, svm.uuid, NFS)),
            junctions={
                volume.junction: layout.flexvol(volume.uuid)
                for volume in state.all(FlexVol)
                if volume.svm == svm.uuid and volume.junction and volume.state == "online"
            },
        )
        for svm in state.all(Svm)
    )
