"""Cinder 29's own NetApp driver, unmodified, through a volume's whole life on the simulator.

Runs in `.venv-cinder`; one JSON object as the argument says where the array is. It prints what it
did, and ends with an error at the first thing that is not as it must be.
"""

# ruff: noqa: E402 the threading choice comes before all else

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OS_CINDER_DISABLE_EVENTLET_PATCHING"] = "1"
import cinder.monkey_patch

cinder.monkey_patch.patch("threading")

import cinder.common.config  # registers options
from cinder import context, coordination, objects
from cinder.db import api as db
from cinder.db import models
from cinder.objects import fields
from cinder.volume import configuration
from cinder.volume import driver as base
from cinder.volume.drivers.netapp import common
from oslo_config import cfg
from oslo_db.sqlalchemy import enginefacade

ARRAY = json.loads(sys.argv[1])
HOST, BACKEND = "tests", "ontap"
WHERE = f"{HOST}@{BACKEND}#vol1"
GIB = 1 << 30


def start(folder: Path) -> common.NetAppDriver:
    """The driver as cinder-volume would make it, over a scratch database."""
    (folder / "cinder.conf").write_text(
        f"""
[DEFAULT]
enabled_backends = {BACKEND}
state_path = {folder}
lock_path = {folder}
[oslo_concurrency]
lock_path = {folder}
[coordination]
backend_url = file://{folder}
[database]
connection = sqlite:///{folder}/scratch.sqlite
[{BACKEND}]
volume_driver = cinder.volume.drivers.netapp.common.NetAppDriver
volume_backend_name = {BACKEND}
netapp_storage_family = ontap_cluster
netapp_storage_protocol = iscsi
netapp_use_legacy_client = False
netapp_allow_zapi_fallback = {ARRAY["fallback"]}
netapp_transport_type = {ARRAY["transport"]}
netapp_server_hostname = {ARRAY["host"]}
netapp_server_port = {ARRAY["port"]}
netapp_login = {ARRAY["user"]}
netapp_password = {ARRAY["password"]}
netapp_vserver = {ARRAY["svm"]}
netapp_pool_name_search_pattern = (vol.+)
netapp_ssl_cert_path = {ARRAY.get("certificate") or ""}
"""
    )
    cfg.CONF(["--config-file", str(folder / "cinder.conf")], project="cinder")
    objects.register_all()
    engine = enginefacade.writer.get_engine()
    models.BASE.metadata.create_all(engine)
    db.volume_type_create(context.get_admin_context(), {"name": "__DEFAULT__"})
    coordination.COORDINATOR.start()
    made = common.NetAppDriver(
        configuration=configuration.Configuration(base.volume_opts, config_group=BACKEND),
        host=f"{HOST}@{BACKEND}",
        cluster_name=None,
        active_backend_id=None,
    )
    made.do_setup(context.get_admin_context())
    made.check_for_setup_error()
    made.init_capabilities()
    made.set_initialized()
    return made


def keep(thing: Any, updates: dict[str, Any] | None) -> Any:
    """What cinder-volume does with a driver's answer."""
    if updates:
        thing.update(updates)
        thing.save()
    return thing


def new_volume(ctxt: context.RequestContext, size: int = 1, **more: Any) -> objects.Volume:
    volume = objects.Volume(
        ctxt,
        size=size,
        host=WHERE,
        status="creating",
        user_id="u",
        project_id="p",
        display_name="test",
        volume_type_id=more.pop("volume_type_id", None),
        **more,
    )
    volume.create()
    return objects.Volume.get_by_id(ctxt, volume.id)


def new_snapshot(ctxt: context.RequestContext, volume: objects.Volume) -> objects.Snapshot:
    snapshot = objects.Snapshot(
        ctxt,
        volume_id=volume.id,
        volume_size=volume.size,
        status=fields.SnapshotStatus.CREATING,
        user_id="u",
        project_id="p",
        display_name="test",
    )
    snapshot.create()
    return objects.Snapshot.get_by_id(ctxt, snapshot.id)


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
        portal, target, number = data["target_portal"], data["target_iqn"], data["target_lun"]
        options = f"driver=iscsi,transport=tcp,portal={portal},target={target},lun={number}"
        options += f",initiator-name={self.iqn}"
        if data.get("auth_method"):
            options += f",user={data['auth_username']},password={data['auth_password']}"
        done = subprocess.run(
            ["qemu-io", "--image-opts", options, "-c", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0 and "failed" not in said, said
        return said


def step(name: str) -> None:
    print(name, flush=True)


def life(driver: common.NetAppDriver) -> None:
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
        ctxt, managed, {"host": f"{HOST}@{BACKEND}#vol2", "capabilities": {}}
    )
    assert moved, updates
    keep(managed, updates)
    managed.host = f"{HOST}@{BACKEND}#vol2"
    managed.save()
    # The driver keeps the old place in its memory; a service that starts anew would see this.
    where = f"{ARRAY['svm']}:/vol/vol2/{managed.name}"
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
        ctxt, host=WHERE, user_id="u", project_id="p", name="g", status="available"
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

    driver.terminate_connection(volume, None)
    driver.delete_snapshot(snapshot)
    for gone in (volume, restored, managed):
        driver.delete_volume(gone)
        driver.delete_volume(gone)
    step("delete, twice")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        life(start(Path(folder)))


if __name__ == "__main__":
    failed = False
    try:
        main()
    except BaseException:
        traceback.print_exc()
        failed = True
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(failed)  # the driver's periodic loops never end
