"""iSCSI by QEMU's own initiator (libiscsi): no session of the host, no device node. Its data:

    target_portal, target_iqn, target_lun       the way to the LUN: "address:port"
    target_portals, target_iqns, target_luns    all ways, lists of one length; `iscsi_paths` takes
                                                the first that answers and puts it into the above
    auth_method, auth_username, auth_password   "CHAP", and the host's credentials; optional
    lun_serial, wwn                             who the LUN says it is; `iscsi_paths` asks it

A guest whose portal goes away waits. libiscsi goes back to the same portal as soon as it answers
again, however long that takes, and repeats what was under way: nothing is lost. It does not change
to another portal: that takes a detach and an attach, which choose anew. A guest with requests under
way gives the disk back only when they are answered, or when it is stopped.
"""

from __future__ import annotations

import re

from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.hypervisor import HostError
from breezeblock.compute.transports.base import Data, Json, Near, Transport, required

_NAME = re.compile(r"(iqn|eui|naa)\.[A-Za-z0-9.:_-]{1,219}")
_PORTAL = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORT = "3260"
_SECRET_FILE = "chap"
REQUEST_TIMEOUT = 20
"""Seconds after which a request is given up on a connection, and sent again on a new one. Without
it, closing a session whose target hangs would never end."""


def transport(data: Data, names: DiskNames, near: Near) -> Transport:
    host, port = address(required(data, "iscsi", "target_portal"))
    options: Json = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": f"{host}:{port}",
        "target": iscsi_name(required(data, "iscsi", "target_iqn")),
        "lun": lun_number(required(data, "iscsi", "target_lun")),
        "initiator-name": iscsi_name(near.initiator or ""),
        "timeout": REQUEST_TIMEOUT,
    }
    chap = credentials(data)
    if chap is None:
        return Transport(options)
    user, password = chap
    secret = {
        "qom-type": "secret",
        "id": names.secret,
        "file": str(near.secrets_dir / _SECRET_FILE),
    }
    return Transport(
        options={**options, "user": user, "password-secret": names.secret},
        objects=(secret,),
        secrets={_SECRET_FILE: password},
    )


def credentials(data: Data) -> tuple[str, str] | None:
    """User and password for CHAP; None where the target wants none."""
    method = data.get("auth_method")
    if method in (None, "", "None"):
        return None
    if method != "CHAP":
        raise HostError(f"This host cannot log in to an iSCSI target by {str(method)[:50]!r}.")
    user = required(data, "iscsi", "auth_username")
    return str(user), str(required(data, "iscsi", "auth_password"))


def address(portal: object) -> tuple[str, str]:
    """Host and port of a portal; an IPv6 address keeps its brackets."""
    parts = _PORTAL.fullmatch(str(portal))
    if parts is None:
        raise HostError(f"{str(portal)[:100]!r} is no address of an iSCSI portal.")
    return parts["host"], parts["port"] or _DEFAULT_PORT


def iscsi_name(name: object) -> str:
    """The name of a target or an initiator, which cannot be taken for anything else."""
    if not _NAME.fullmatch(str(name)):
        raise HostError(
            f"{str(name)[:100]!r} is no iSCSI name.",
            remedy="One looks like iqn.2026-11.org.example:name; this host's is compute.initiator.",
        )
    return str(name)


def lun_number(lun: object) -> int:
    if isinstance(lun, bool) or not re.fullmatch(r"[0-9]{1,5}", str(lun), re.ASCII):
        raise HostError(f"{str(lun)[:50]!r} is no number of a LUN.")
    return int(str(lun))
