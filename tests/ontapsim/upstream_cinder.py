"""What cinder-volume is to a driver: its configuration, its database, its root commands.

Runs in `.venv-cinder`. `start` makes Cinder 29's own NetApp driver, unmodified.
"""

# ruff: noqa: E402 the threading choice comes before all else

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ["OS_CINDER_DISABLE_EVENTLET_PATCHING"] = "1"
import cinder.monkey_patch

cinder.monkey_patch.patch("threading")

import cinder.common.config  # registers options
import cinder.privsep
import cinder.utils
import os_brick.privileged
from cinder import context, coordination, objects
from cinder.db import api as db
from cinder.db import models
from cinder.objects import fields
from cinder.volume import configuration
from cinder.volume import driver as base
from cinder.volume.drivers.netapp import common
from oslo_config import cfg
from oslo_db.sqlalchemy import enginefacade

HOST, BACKEND = "tests", "ontap"
GIB = 1 << 30

Array = Mapping[str, Any]
"""Where the array is, as `test_upstream_driver.py` says."""


def pool(name: str) -> str:
    return f"{HOST}@{BACKEND}#{name}"


def start(
    array: Array,
    folder: Path,
    options: Mapping[str, object],
    prepare: Callable[[Any], None] = lambda _driver: None,
) -> Any:
    """The driver as cinder-volume would make it, over a scratch database in the folder.

    `prepare` may do to it what has to be done before it is set up.
    """
    more = "\n".join(f"{name} = {value}" for name, value in options.items())
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
netapp_use_legacy_client = False
netapp_allow_zapi_fallback = {array["fallback"]}
netapp_transport_type = {array["transport"]}
netapp_server_hostname = {array["host"]}
netapp_server_port = {array["port"]}
netapp_login = {array["user"]}
netapp_password = {array["password"]}
netapp_vserver = {array["svm"]}
netapp_pool_name_search_pattern = (vol.+)
{more}
"""
    )
    cfg.CONF(["--config-file", str(folder / "cinder.conf")], project="cinder")
    objects.register_all()
    engine = enginefacade.writer.get_engine()
    models.BASE.metadata.create_all(engine)
    db.volume_type_create(context.get_admin_context(), {"name": "__DEFAULT__"})
    coordination.COORDINATOR.start()
    _be_root()
    made = common.NetAppDriver(
        configuration=configuration.Configuration(base.volume_opts, config_group=BACKEND),
        host=f"{HOST}@{BACKEND}",
        cluster_name=None,
        active_backend_id=None,
    )
    prepare(made)
    made.do_setup(context.get_admin_context())
    made.check_for_setup_error()
    made.init_capabilities()
    made.set_initialized()
    return made


def _be_root() -> None:
    """Commands are run as they are: without a helper that would make us root."""
    cinder.privsep.sys_admin_pctxt.set_client_mode(False)
    os_brick.privileged.default.set_client_mode(False)
    cinder.utils.get_root_helper = lambda: "env"


def step(name: str) -> None:
    print(name, flush=True)


def keep(thing: Any, updates: dict[str, Any] | None) -> Any:
    """What cinder-volume does with a driver's answer."""
    if updates:
        thing.update(updates)
        thing.save()
    return thing


def new_volume(
    ctxt: context.RequestContext, size: int = 1, where: str = "vol1", **more: Any
) -> objects.Volume:
    volume = objects.Volume(
        ctxt,
        size=size,
        host=pool(where),
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
