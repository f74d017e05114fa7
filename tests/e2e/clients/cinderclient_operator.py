"""Drives python-cinderclient, unchanged, as an operator who takes backends out and back. Run with
the clients' Python; two backends are up.

usage: cinderclient_operator.py VOLUME_ENDPOINT BACKEND OTHER-BACKEND
"""

import sys
import time

from cinderclient import client
from cinderclient import exceptions as faults
from cinderclient.contrib import noauth
from keystoneauth1 import session

endpoint, backend, other = sys.argv[1:]
VOLUME = "cinder-volume"
plugin = noauth.CinderNoAuthPlugin("admin", "admin", None, endpoint)
cinder = client.Client("3.71", session=session.Session(auth=plugin))


def create():
    """A new volume that has been made."""
    volume = cinder.volumes.create(1)
    while volume.status == "creating":
        time.sleep(0.05)
        volume = cinder.volumes.get(volume.id)
    assert volume.status == "available", volume.status
    return volume


def place(volume) -> str:
    return getattr(volume, "os-vol-host-attr:host").partition("#")[0]


def shown(host: str) -> tuple:
    (one,) = cinder.services.list(host=host, binary=VOLUME)
    return one.status, one.disabled_reason, one.frozen, one.state


def refused(call, *given) -> str:
    try:
        call(*given)
    except faults.BadRequest as error:
        return str(error)
    raise AssertionError(f"{call} was not refused")


cinder.services.disable_log_reason(backend, VOLUME, "new disks")
assert {place(create()) for _ in range(4)} == {other}
assert shown(backend) == ("disabled", "new disks", False, "up")
cinder.services.enable(backend, VOLUME)
assert shown(backend) == ("enabled", None, False, "up")

held = create()
while place(held) != other:
    held = create()
cinder.services.freeze_host(other)
assert {place(create()) for _ in range(4)} == {backend}
assert shown(other) == ("disabled", "frozen", True, "up")
assert "frozen" in refused(cinder.volumes.delete, held.id)
assert "frozen" in refused(cinder.volume_snapshots.create, held.id)
assert "replication" in refused(cinder.services.failover_host, other, None)
cinder.services.thaw_host(other)
assert shown(other) == ("enabled", None, False, "up")
cinder.volumes.delete(held.id)
print("ok")
