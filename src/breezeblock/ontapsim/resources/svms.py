"""SVMs, their peers and what is mirrored between them (nothing): /svm, /snapmirror."""

from __future__ import annotations

from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Svm
from breezeblock.ontapsim.rest import Call, Resource, nothing


def _records(call: Call) -> list[Document]:
    return [
        {
            "uuid": svm.uuid,
            "name": svm.name,
            "state": "running",
            "subtype": "default",
            "language": svm.language,
            "iscsi": {"allowed": True, "enabled": svm.iscsi},
            "nfs": {"allowed": True, "enabled": True},
        }
        for svm in call.array.state.all(Svm)
        if call.sees(svm.uuid)
    ]


SVMS = Resource(
    path="/svm/svms",
    fields="uuid name state subtype language iscsi nfs aggregates",
    records=_records,
    missing=lambda uuid: ApiError(404, "2621462", f'SVM "{uuid}" does not exist.', "uuid"),
)
PEERS = Resource(path="/svm/peers", fields="uuid name svm peer state applications", records=nothing)
RELATIONSHIPS = Resource(
    path="/snapmirror/relationships",
    fields=(
        "uuid source destination state policy transfer healthy unhealthy_reason lag_time"
        " transfer_schedule"
    ),
    keys=("uuid",),
    options=("list_destinations_only",),
    records=nothing,
)
POLICIES = Resource(path="/snapmirror/policies", fields="uuid name svm type scope", records=nothing)
ROUTES = [*SVMS.routes(), *PEERS.routes(), *RELATIONSHIPS.routes(), *POLICIES.routes()]
