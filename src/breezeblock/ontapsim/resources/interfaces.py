"""Network interfaces (LIFs): /network/ip/interfaces, and the Fibre Channel ones, of which there are
none."""

from __future__ import annotations

import ipaddress

from msgspec.structs import replace

from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.model import Lif, Node
from breezeblock.ontapsim.resources.common import Lookup
from breezeblock.ontapsim.rest import Call, Resource, nothing


def _records(call: Call) -> list[Document]:
    lookup = Lookup(call.array)
    nodes = {node.uuid: node for node in call.array.state.all(Node)}
    return [
        _document(lif, lookup, nodes) for lif in call.array.state.all(Lif) if call.sees(lif.svm)
    ]


def _document(lif: Lif, lookup: Lookup, nodes: dict[str, Node]) -> Document:
    home, node = nodes[lif.home], nodes[lif.node]
    address = ipaddress.ip_address(lif.address)
    return {
        "uuid": lif.uuid,
        "name": lif.name,
        "svm": lookup.svm(lif.svm),
        "scope": "svm",
        "enabled": lif.enabled,
        "state": "up" if lif.enabled and node.up else "down",
        "services": lif.services,
        "ip": {
            "address": lif.address,
            "netmask": str(address.max_prefixlen),
            "family": f"ipv{address.version}",
        },
        "location": {
            "home_node": {"name": home.name, "uuid": home.uuid},
            "node": {"name": node.name, "uuid": node.uuid},
            "is_home": lif.home == lif.node,
            "auto_revert": True,
        },
    }


def _modify(call: Call, found: Document) -> None:
    lif = call.array.state.get(Lif, found["uuid"])
    enabled = call.body.flag("enabled")
    if enabled is not None:
        call.array.state.put(replace(lif, enabled=enabled))


RESOURCE = Resource(
    path="/network/ip/interfaces",
    fields="uuid name svm scope enabled state services ip location ipspace service_policy",
    records=_records,
    modify=_modify,
)
FIBRE_CHANNEL = Resource(
    path="/network/fc/interfaces",
    fields="uuid name svm enabled state wwpn wwnn data_protocol location",
    records=nothing,
)
ROUTES = [*RESOURCE.routes(), *FIBRE_CHANNEL.routes()]
