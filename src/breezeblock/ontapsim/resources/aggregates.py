"""Aggregates and their disks: /storage/aggregates, /storage/disks."""

from __future__ import annotations

from breezeblock.ontapsim import space
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.model import Aggregate, Node
from breezeblock.ontapsim.rest import Call, Resource

DISKS = 4
"""An aggregate has as many, each a quarter of it."""


def _aggregates(call: Call) -> list[Document]:
    nodes = {node.uuid: node for node in call.array.state.all(Node)}
    return [_document(call, a, nodes) for a in call.array.state.all(Aggregate)]


def _document(call: Call, aggregate: Aggregate, nodes: dict[str, Node]) -> Document:
    home, node = nodes[aggregate.home], nodes[aggregate.node]
    used = space.of_aggregate(call.array, aggregate)
    return {
        "uuid": aggregate.uuid,
        "name": aggregate.name,
        "state": "online",
        "home_node": {"name": home.name, "uuid": home.uuid},
        "node": {"name": node.name, "uuid": node.uuid},
        "block_storage": {
            "storage_type": aggregate.storage_type,
            "primary": {"raid_type": aggregate.raid_type, "disk_count": DISKS},
            "mirror": {"enabled": False, "state": "unmirrored"},
        },
        "space": {
            "block_storage": {
                "size": aggregate.size,
                "used": used,
                "available": max(0, aggregate.size - used),
            }
        },
    }


def _disks(call: Call) -> list[Document]:
    return [
        {
            "name": f"{aggregate.name}.{number}",
            "uid": f"{aggregate.uuid}:{number}",
            "state": "present",
            "container_type": "aggregate",
            "aggregates": [{"name": aggregate.name, "uuid": aggregate.uuid}],
            "effective_type": aggregate.disk_type,
            "type": aggregate.disk_type,
            "usable_size": aggregate.size // DISKS,
        }
        for aggregate in call.array.state.all(Aggregate)
        for number in range(DISKS)
    ]


AGGREGATES = Resource(
    path="/storage/aggregates",
    fields="uuid name state home_node node block_storage space",
    records=_aggregates,
    cluster=True,
)
DISK = Resource(
    path="/storage/disks",
    fields="name uid state container_type aggregates effective_type type usable_size node",
    identity=("name",),
    keys=("name",),
    records=_disks,
    cluster=True,
)
ROUTES = [*AGGREGATES.routes(), *DISK.routes()]
