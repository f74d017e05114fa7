"""Lives of volumes over iSCSI: every call of the driver, with the data looked at by a host."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cinder import context, exception, objects
from cinder.db import api as db
from oslo_config import cfg

from tests.ontapsim.upstream_cinder import GIB, Array, keep, new_snapshot, new_volume, pool, step

LOGINS = 8
"""How often open-iscsi tries, too."""
REFUSED = "Failed to log in to target"
RESTART = "restart"
"""At this step the test starts the simulator anew, and then sends a line."""


class Host:
    """An initiator: attaches a volume, and reads and writes it through libiscsi."""

    def __init__(self, driver: Any, name: str) -> None:
        self._driver = driver
        self.iqn = f"iqn.1994-05.com.redhat:{name}"
        self.connector = {
            "initiator": self.iqn,
            "host": name,
            "ip": "127.0.0.1",
            "multipath": True,
            "platform": "x86_64",
            "os_type": "linux2",
        }

    @contextmanager
    def attached(self, volume: objects.Volume) -> Iterator[Callable[[str], str]]:
        connection = self._driver.initialize_connection(volume, self.connector)
        try:
            yield lambda command: self.io(connection["data"], command)
        finally:
            self._driver.terminate_connection(volume, self.connector)

    def io(self, data: dict[str, Any], command: str) -> str:
        """Do it, whatever it takes to log in.

        With CHAP that may be a second attempt, as initiators make them: the driver does not wait
        until the array has done what it was told over SSH.
        """
        for _ in range(LOGINS):
            said = self.attempt(data, command)
            if not (data.get("auth_method") and REFUSED in said):
                break
            time.sleep(0.2)
        assert "failed" not in said.lower(), said
        return said

    def attempt(self, data: dict[str, Any], command: str) -> str:
        """What qemu-io says."""
        portal, target, number = data["target_portal"], data["target_iqn"], data["target_lun"]
        options = f"driver=iscsi,transport=tcp,portal={portal},target={target},lun={number}"
        options += f",initiator-name={self.iqn}"
        secret = []
        if data.get("auth_method"):
            options += f",user={data['auth_username']},password-secret=chap"
            secret = ["--object", f"secret,id=chap,data={data['auth_password']}"]
        done = subprocess.run(
            ["qemu-io", *secret, "--image-opts", options, "-c", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0 or "failed" in said.lower(), said
        return said


def life(driver: Any, array: Array) -> None:
    """Every call of a volume's life, with its data looked at by a host after each."""
    ctxt = context.get_admin_context()
    one, two = Host(driver, f"a-{uuid.uuid4().hex[:6]}"), Host(driver, f"b-{uuid.uuid4().hex[:6]}")
    stats = driver.get_volume_stats(refresh=True)
    assert {pool["pool_name"] for pool in stats["pools"]} == {"vol1", "vol2"}, stats
    assert all(pool["free_capacity_gb"] > 90 for pool in stats["pools"]), stats
    step("stats")

    volume = new_volume(ctxt)
    keep(volume, driver.create_volume(volume))
    keep(volume, driver.create_export(ctxt, volume, one.connector))
    with one.attached(volume) as io:
        io("write -P 1 0 1M")
        io("read -P 1 0 1M")
    step("create, attach")

    snapshot = new_snapshot(ctxt, volume)
    keep(snapshot, driver.create_snapshot(snapshot))
    with one.attached(volume) as io:
        io("write -P 2 0 1M")
    restored = new_volume(ctxt, size=2, snapshot_id=snapshot.id)
    keep(restored, driver.create_volume_from_snapshot(restored, snapshot))
    keep(restored, driver.create_export(ctxt, restored, one.connector))
    with one.attached(restored) as io:
        io("read -P 1 0 1M")
        io(f"write -P 3 {2 * GIB - 4096} 4096")
    step("snapshot, volume from snapshot, larger")

    cloned = new_volume(ctxt, size=2, source_volid=volume.id)
    keep(cloned, driver.create_cloned_volume(cloned, volume))
    keep(cloned, driver.create_export(ctxt, cloned, one.connector))
    with two.attached(cloned) as io:
        io("read -P 2 0 1M")
    step("clone")

    with one.attached(volume) as io, two.attached(volume) as other:
        driver.extend_volume(volume, 3)
        io(f"write -P 4 {3 * GIB - 4096} 4096")
        other(f"read -P 4 {3 * GIB - 4096} 4096")
    volume.size = 3
    volume.save()
    step("extend while attached to two")

    driver.revert_to_snapshot(ctxt, volume, snapshot)
    with one.attached(volume) as io:
        io("read -P 1 0 1M")
    step("revert")

    driver.unmanage(cloned)
    managed = new_volume(ctxt, size=2)
    name = f"/vol/vol1/volume-{cloned.id}"
    size = driver.manage_existing_get_size(managed, {"source-name": name})
    assert size == 2, size
    keep(managed, driver.manage_existing(managed, {"source-name": name}))
    keep(managed, driver.create_export(ctxt, managed, one.connector))
    with one.attached(managed) as io:
        io("read -P 2 0 1M")
    step("unmanage, manage")

    moved, updates = driver.migrate_volume(
        ctxt, managed, {"host": pool("vol2"), "capabilities": {}}
    )
    assert moved, updates
    keep(managed, updates)
    managed.host = pool("vol2")
    managed.save()
    # The driver keeps the old place in its memory; a service that starts anew would see this.
    where = f"{array['svm']}:/vol/vol2/{managed.name}"
    keep(managed, {"provider_location": where})
    with one.attached(managed) as io:
        io("read -P 2 0 1M")
    step("migrate")

    specs = db.qos_specs_create(
        ctxt, {"name": "limits", "consumer": "back-end", "specs": {"maxIOPS": "500"}}
    )
    kind = db.volume_type_create(ctxt, {"name": "limited", "qos_specs_id": specs["id"]})
    limited = new_volume(ctxt, volume_type_id=kind.id)
    keep(limited, driver.create_volume(limited))
    keep(limited, driver.create_export(ctxt, limited, one.connector))
    driver.extend_volume(limited, 2)
    driver.delete_volume(limited)
    step("QoS")

    flag = {"consistent_group_snapshot_enabled": "<is> True"}
    kind = db.group_type_create(ctxt, {"name": "consistent", "group_specs": flag})
    group = objects.Group(
        ctxt, host=pool("vol1"), user_id="u", project_id="p", name="g", status="available"
    )
    group.group_type_id = kind.id
    group.create()
    volume.group_id = group.id
    volume.save()
    taken = objects.GroupSnapshot(
        ctxt, group_id=group.id, user_id="u", project_id="p", name="gs", status="creating"
    )
    taken.group_type_id = kind.id
    taken.create()
    member = new_snapshot(ctxt, volume)
    driver.create_group_snapshot(ctxt, taken, [member])
    with one.attached(volume) as io:
        io("write -P 5 0 1M")
    driver.revert_to_snapshot(ctxt, volume, member)
    with one.attached(volume) as io:
        io("read -P 1 0 1M")
    driver.delete_group_snapshot(ctxt, taken, [member])
    step("consistent group snapshot")

    _jobs_at_once(array)  # the driver looks at a job every two seconds
    driver.terminate_connection(volume, None)
    driver.delete_snapshot(snapshot)
    for gone in (volume, restored, managed):
        driver.delete_volume(gone)
        driver.delete_volume(gone)
    step("delete, twice")


def chap_life(driver: Any, _array: Array) -> None:
    """Secrets that the driver sets over SSH are what the array asks initiators for."""
    ctxt = context.get_admin_context()
    one, two = Host(driver, f"a-{uuid.uuid4().hex[:6]}"), Host(driver, f"b-{uuid.uuid4().hex[:6]}")
    volume = new_volume(ctxt)
    keep(volume, driver.create_volume(volume))
    keep(volume, driver.create_export(ctxt, volume, one.connector))

    console = driver.library.zapi_client.ssh_client.ssh_pool
    right, console.password = console.password, "wrong"
    try:
        driver.initialize_connection(volume, one.connector)
    except exception.VolumeBackendAPIException as error:
        assert "Authentication failed" in str(error), error
    else:
        raise AssertionError("attached without a password for the console")
    console.password = right
    driver.terminate_connection(volume, one.connector)
    step("wrong SSH password")

    first = driver.initialize_connection(volume, one.connector)["data"]
    assert first["auth_method"] == "CHAP", first
    one.io(first, "write -P 1 0 1M")
    assert REFUSED in one.attempt({**first, "auth_method": None}, "read -P 1 0 1M")
    assert REFUSED in one.attempt({**first, "auth_password": "x" * 16}, "read -P 1 0 1M")
    step("attach with a secret")

    second = driver.initialize_connection(volume, two.connector)["data"]
    two.io(second, "read -P 1 0 1M")
    assert REFUSED in two.attempt({**second, **_secret(first)}, "read -P 1 0 1M")
    assert REFUSED in one.attempt({**first, **_secret(second)}, "read -P 1 0 1M")
    one.io(first, "read -P 1 0 1M")
    step("another initiator, another secret")

    known = _host_keys()
    assert known
    step(RESTART)
    input()
    driver.terminate_connection(volume, one.connector)
    third = driver.initialize_connection(volume, one.connector)["data"]
    one.io(third, "read -P 1 0 1M")
    assert REFUSED in one.attempt({**third, **_secret(first)}, "read -P 1 0 1M")
    two.io(second, "read -P 1 0 1M")
    assert _host_keys() == known
    step("the same array after a restart, a new secret")

    driver.terminate_connection(volume, None)
    driver.delete_volume(volume)
    step("delete")


def _secret(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in ("auth_username", "auth_password")}


def _host_keys() -> list[str]:
    """What the driver remembers of the consoles it has seen."""
    return Path(cfg.CONF.ssh_hosts_key_file).read_text().splitlines()


def _jobs_at_once(array: Array) -> None:
    url = f"{array['transport']}://{array['host']}:{array['port']}/simulator/settings"
    body = json.dumps({"job_seconds": 0}).encode()
    urllib.request.urlopen(urllib.request.Request(url, body, method="PATCH")).close()
