"""NetApp's own client through a LUN's life. Runs in `.venv-netapp`; prints what it found."""

from __future__ import annotations

import json
import sys

from netapp_ontap import HostConnection, NetAppRestError
from netapp_ontap.resources import (
    Cluster,
    FileInfo,
    Igroup,
    Lun,
    LunAttribute,
    LunMap,
    Snapshot,
    Volume,
)

ARRAY = json.loads(sys.argv[1])
SVM = {"name": ARRAY["svm"]}


def life() -> dict[str, object]:
    cluster = Cluster()
    cluster.get(fields="version")
    found: dict[str, object] = {"version": cluster.version.full}

    lun = Lun(name="/vol/vol1/l", svm=SVM, os_type="linux", space={"size": 1 << 20})
    lun.post(hydrate=True)
    found["serial"] = len(lun.serial_number)
    LunAttribute(lun.uuid, name="owner", value="me").post()
    lun.get(fields="attributes")
    found["attributes"] = {item.name: item.value for item in lun.attributes}

    igroup = Igroup(name="g", svm=SVM, os_type="linux", protocol="iscsi")
    igroup.initiators = [{"name": "iqn.1994-05.com.redhat:a"}]
    igroup.post(hydrate=True)
    mapping = LunMap(svm=SVM, lun={"name": lun.name}, igroup={"name": "g"})
    mapping.post(hydrate=True)
    found["number"] = mapping.logical_unit_number

    volume = Volume.find(name="vol1")
    snapshot = Snapshot(volume.uuid, name="s")
    snapshot.post(hydrate=True, poll=True)
    clone = Lun(name="/vol/vol1/c", svm=SVM)
    clone.clone = {"source": {"name": "/vol/vol1/.snapshot/s/l"}}
    clone.post(hydrate=True)
    found["clone"] = clone.space.size
    Lun(uuid=clone.uuid, space={"size": 2 << 20}).patch()
    found["luns"] = sorted(one.name for one in Lun.get_collection(max_records=1, fields="name"))

    try:
        Lun(uuid=lun.uuid).delete()
    except NetAppRestError as error:
        found["refused"] = error.response_body["error"]["code"]
    Lun(uuid=lun.uuid).delete(allow_delete_while_mapped=True)
    Snapshot(volume.uuid, uuid=Snapshot.find(volume.uuid, name="s").uuid).delete(poll=True)

    FileInfo(volume.uuid, "d", type="directory").post()
    found["files"] = [file.name for file in FileInfo.get_collection(volume.uuid)]
    return found


with HostConnection(
    ARRAY["host"],
    port=ARRAY["port"],
    username=ARRAY["user"],
    password=ARRAY["password"],
    verify=ARRAY["certificate"],
):
    print(json.dumps(life()))
