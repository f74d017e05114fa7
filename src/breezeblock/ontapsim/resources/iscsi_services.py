"""The iSCSI service of each SVM: /protocols/san/iscsi/services."""

from __future__ import annotations

from msgspec.structs import replace

from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Svm
from breezeblock.ontapsim.resources.common import reference
from breezeblock.ontapsim.rest import Call, Resource


def _records(call: Call) -> list[Document]:
    return [
        {
            "svm": reference(svm),
            "enabled": svm.iscsi,
            "target": {"name": svm.target, "alias": svm.name},
        }
        for svm in call.array.state.all(Svm)
        if call.sees(svm.uuid)
    ]


def _modify(call: Call, found: Document) -> None:
    enabled = call.body.flag("enabled")
    if enabled is not None:
        svm = call.array.state.get(Svm, found["svm"]["uuid"])
        call.array.state.put(replace(svm, iscsi=enabled))


RESOURCE = Resource(
    path="/protocols/san/iscsi/services",
    fields="svm enabled target metric statistics",
    identity=("svm.uuid",),
    keys=("svm",),
    records=_records,
    modify=_modify,
    missing=lambda uuid: ApiError(404, "5374078", f'No iSCSI service in "{uuid}".', "svm.uuid"),
)
ROUTES = RESOURCE.routes()
