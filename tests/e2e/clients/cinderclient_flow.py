"""Drives python-cinderclient, unchanged, through what issue 2 names. Run with the clients' Python.

usage: cinderclient_flow.py VOLUME_ENDPOINT AUTH [USER PASSWORD]
AUTH is noauth, none or http_basic.
"""

import contextlib
import sys
import time

from cinderclient import client
from cinderclient import exceptions as faults
from keystoneauth1 import http_basic, noauth, session
from keystoneauth1.identity import base as _base  # noqa: F401  - fails early without keystoneauth

endpoint, auth = sys.argv[1], sys.argv[2]


def connect(version: str) -> client.Client:
    if auth == "noauth":
        from cinderclient.contrib import noauth as cinder_noauth

        plugin = cinder_noauth.CinderNoAuthPlugin("admin", "admin", None, endpoint)
    elif auth == "none":
        plugin = noauth.NoAuth(endpoint=endpoint)
    else:
        plugin = http_basic.HTTPBasicAuth(
            endpoint=endpoint, username=sys.argv[3], password=sys.argv[4]
        )
    return client.Client(version, session=session.Session(auth=plugin))


def wait(get, ident: str, *statuses: str):
    for _ in range(600):
        found = get(ident)
        if found.status in statuses:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{ident} is {found.status}, not {statuses}")


cinder = connect("3.71")
kind = f"kind-{auth}"
volume_type = cinder.volume_types.create(kind, description="made by cinderclient")
volume_type.set_keys({"volume_backend_name": "local"})
assert volume_type.get_keys()["volume_backend_name"] == "local"
assert kind in [one.name for one in cinder.volume_types.list()]
cinder.volume_types.update(volume_type.id, description="changed")
volume_type.unset_keys(["volume_backend_name"])

volume = cinder.volumes.create(1, name="first", volume_type=kind, metadata={"a": "1"})
volume = wait(cinder.volumes.get, volume.id, "available")
assert (volume.size, volume.volume_type, volume.metadata) == (1, kind, {"a": "1"})
cinder.volumes.update(volume.id, name="renamed", description="text")
cinder.volumes.set_metadata(volume, {"b": "2"})
cinder.volumes.delete_metadata(volume, ["a"])
found = cinder.volumes.list(search_opts={"name": "renamed"})
assert [one.id for one in found] == [volume.id]
assert found[0].metadata == {"b": "2"}

cinder.volumes.extend(volume, 2)
assert wait(cinder.volumes.get, volume.id, "available").size == 2
clone = cinder.volumes.create(2, source_volid=volume.id)
wait(cinder.volumes.get, clone.id, "available")
snapshot = cinder.volume_snapshots.create(volume.id, name="frozen")
wait(cinder.volume_snapshots.get, snapshot.id, "available")
thawed = cinder.volumes.create(2, snapshot_id=snapshot.id)
wait(cinder.volumes.get, thawed.id, "available")
paged = cinder.volumes.list(limit=1)
assert len(paged) == 1

attachment = cinder.attachments.create(volume.id, None, None, mode="rw")
ident = attachment["id"] if isinstance(attachment, dict) else attachment.id
cinder.attachments.update(ident, {"host": "client-test", "ip": "127.0.0.1"})
cinder.attachments.complete(ident)
assert cinder.volumes.get(volume.id).status == "in-use"
assert cinder.attachments.show(ident).connection_info["driver_volume_type"] == "nbd"
cinder.attachments.delete(ident)
assert cinder.volumes.get(volume.id).status == "available"

cinder.volumes.reserve(volume)
nested = cinder.volumes.initialize_connection(volume, {"host": "client-test", "ip": "127.0.0.1"})
assert nested["driver_volume_type"] == "nbd"
assert nested["data"]["volume_id"] == volume.id
cinder.volumes.attach(volume, None, "/dev/vdb", mode="rw", host_name="client-test")
assert cinder.volumes.get(volume.id).status == "in-use"
cinder.volumes.begin_detaching(volume)
cinder.volumes.roll_detaching(volume)
cinder.volumes.begin_detaching(volume)
cinder.volumes.terminate_connection(volume, {"host": "client-test", "ip": "127.0.0.1"})
cinder.volumes.detach(volume)
assert cinder.volumes.get(volume.id).status == "available"

assert [zone.zoneName for zone in cinder.availability_zones.list()] == ["nova"]
if auth != "http_basic":
    assert {"cinder-volume", "cinder-scheduler"} <= {one.binary for one in cinder.services.list()}
    assert cinder.pools.list(detailed=True)[0].total_capacity_gb
limits = {limit.name: limit.value for limit in cinder.limits.get().absolute}
assert limits["totalVolumesUsed"] >= 3

try:
    cinder.volumes.create(0)
except faults.BadRequest as error:
    assert "size" in str(error)
else:
    raise AssertionError("a volume of 0 GiB was accepted")
with contextlib.suppress(faults.NotFound):
    cinder.volumes.get("11111111-1111-1111-1111-111111111111")

snapshot.delete()
for one in (volume, clone, thawed):
    for _ in range(200):
        try:
            cinder.volumes.delete(one)
            break
        except faults.BadRequest:
            time.sleep(0.05)
for one in (volume, clone, thawed):
    for _ in range(600):
        try:
            cinder.volumes.get(one.id)
        except faults.NotFound:
            break
        time.sleep(0.05)
cinder.volume_types.delete(volume_type)
print("ok")
