"""Drives openstacksdk, unchanged, through what issue 2 names. Run with the clients' Python.

usage: openstacksdk_flow.py VOLUME_ENDPOINT COMPUTE_ENDPOINT AUTH [USER PASSWORD]
AUTH is none, admin_token or http_basic.
"""

import sys
import time

import openstack

volume_endpoint, compute_endpoint, auth = sys.argv[1:4]
credentials = {"endpoint": volume_endpoint}
if auth == "admin_token":
    credentials["token"] = "admin:admin"
elif auth == "http_basic":
    credentials |= {"username": sys.argv[4], "password": sys.argv[5]}
cloud = openstack.connect(
    auth_type=auth,
    auth=credentials,
    block_storage_endpoint_override=volume_endpoint,
    compute_endpoint_override=compute_endpoint,
    volume_api_version="3",
)
storage = cloud.block_storage

volume = storage.create_volume(size=1, name=f"sdk-{auth}", metadata={"made": "by sdk"})
volume = storage.wait_for_status(volume, status="available", interval=0.1, wait=60)
assert storage.find_volume(f"sdk-{auth}").id == volume.id
assert volume.volume_type == "__DEFAULT__"
assert [one.id for one in storage.volumes(name=f"sdk-{auth}")] == [volume.id]
storage.update_volume(volume, description="changed")
assert storage.get_volume(volume.id).description == "changed"
storage.set_volume_metadata(volume, key="value")
assert storage.get_volume(volume.id).metadata["key"] == "value"
storage.extend_volume(volume, 2)
for _ in range(600):
    volume = storage.get_volume(volume.id)
    if volume.status == "available":
        break
    time.sleep(0.05)
assert volume.size == 2

made = storage.create_attachment(volume.id, connector={"host": "sdk", "ip": "127.0.0.1"}, mode="rw")
storage.complete_attachment(made.id)
shown = storage.get_attachment(made.id)
assert shown.connection_info["driver_volume_type"] == "nbd", shown.connection_info
assert storage.get_volume(volume.id).status == "in-use"
storage.delete_attachment(made.id)
assert storage.get_volume(volume.id).status == "available"

assert [zone.name for zone in storage.availability_zones()] == ["nova"]
assert storage.get_limits().absolute.total_volumes_used >= 1
assert "__DEFAULT__" in [one.name for one in storage.types()]
if auth != "http_basic":
    assert {"cinder-volume", "cinder-scheduler"} <= {one.binary for one in storage.services()}
    assert list(storage.backend_pools())
    made_type = storage.create_type(name=f"kind-sdk-{auth}", extra_specs={"a": "b"})
    storage.update_type_extra_specs(made_type, c="d")
    assert storage.get_type(made_type.id).extra_specs == {"a": "b", "c": "d"}
    storage.delete_type(made_type)
assert list(storage.extensions())
storage.delete_volume(volume)
storage.wait_for_delete(volume, interval=0.1, wait=60)
print("ok")
