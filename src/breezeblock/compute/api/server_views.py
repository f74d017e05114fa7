"""Servers and their volumes as clients see them, version by version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from breezeblock.compute.api import flavors, images, policy
from breezeblock.compute.api.application import ApiCall
from breezeblock.model.servers import Server, ServerVolume
from breezeblock.web.types import timestamp


def summary(call: ApiCall, server: Server) -> dict[str, Any]:
    return {"id": server.id, "name": server.name, "links": call.link("servers", server.id)}


def view(
    call: ApiCall, server: Server, volumes: Sequence[ServerVolume], *, one: bool = False
) -> dict[str, Any]:
    """All that is told of a server; `one`: what is told of a single one only is there, too."""
    shown = summary(call, server) | {
        "status": server.shown_status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.metadata,
        "hostId": _host_id(server),
        "image": images.of_server(call, server.image_ref),
        "flavor": flavors.of_server(call, server.flavor),
        "created": _moment(server.created_at),
        "updated": _moment(server.updated_at or server.created_at),
        "addresses": {},
        "accessIPv4": "",
        "accessIPv6": "",
        "config_drive": "",
        "key_name": None,
        "security_groups": [{"name": "default"}],
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": server.availability_zone or "",
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:power_state": server.power_state,
        "OS-SRV-USG:launched_at": timestamp(server.launched_at),
        "OS-SRV-USG:terminated_at": None,
        "os-extended-volumes:volumes_attached": [
            _volume(call, volume) for volume in volumes if volume.volume_id
        ],
    }
    if server.status in ("ACTIVE", "BUILD"):
        shown["progress"] = 0 if server.status == "BUILD" else 100
    if server.fault is not None:
        shown["fault"] = _fault(call, server.fault)
    if call.allowed(policy.EXTENDED, {"project_id": server.project_id}):
        shown |= _for_operators(call, server, volumes)
    return shown | _since(call, server, one=one)


def _volume(call: ApiCall, volume: ServerVolume) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": volume.volume_id}
    if call.at_least(2, 3):
        shown["delete_on_termination"] = volume.delete_on_termination
    return shown


def _for_operators(
    call: ApiCall, server: Server, volumes: Sequence[ServerVolume]
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "host": server.host,
        "instance_name": server.id,
        "hypervisor_hostname": server.host,
    }
    if call.at_least(2, 3):
        roots = [volume.device for volume in volumes if volume.is_root]
        shown |= {
            "hostname": server.name,
            "kernel_id": "",
            "ramdisk_id": "",
            "launch_index": 0,
            "reservation_id": "",
            "root_device_name": roots[0] if roots else None,
            "user_data": None,
        }
    return {f"OS-EXT-SRV-ATTR:{key}": value for key, value in shown.items()}


def _since(call: ApiCall, server: Server, *, one: bool) -> dict[str, Any]:
    """What later versions have added."""
    added: dict[tuple[int, int], dict[str, Any]] = {
        (2, 9): {"locked": False},
        (2, 19): {"description": server.description},
        (2, 26): {"tags": []},
        (2, 63): {"trusted_image_certificates": None},
        (2, 71): {"server_groups": []} if one else {},
        (2, 73): {"locked_reason": None},
        (2, 90): {"OS-EXT-SRV-ATTR:hostname": server.name},
        (2, 96): {"pinned_availability_zone": None},
        (2, 100): {"scheduler_hints": {}},
    }
    shown: dict[str, Any] = {}
    for version, fields in added.items():
        if call.version >= version:
            shown |= fields
    return shown


def _fault(call: ApiCall, fault: dict[str, Any]) -> dict[str, Any]:
    hidden = () if call.identity.is_admin else ("details",)
    return {key: value for key, value in fault.items() if key not in hidden}


def _host_id(server: Server) -> str:
    """The same text for the same project and host: it tells a user which servers share a host."""
    if server.host is None:
        return ""
    return hashlib.sha224(f"{server.project_id}{server.host}".encode()).hexdigest()


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def attachment(call: ApiCall, volume: ServerVolume) -> dict[str, Any]:
    """One entry of os-volume_attachments, in lists and by itself."""
    shown: dict[str, Any] = {}
    if not call.at_least(2, 89):
        shown["id"] = volume.volume_id
    shown |= {"volumeId": volume.volume_id, "serverId": volume.server_id}
    if volume.device:
        shown["device"] = volume.device
    if call.at_least(2, 70):
        shown["tag"] = volume.tag
    if call.at_least(2, 79):
        shown["delete_on_termination"] = volume.delete_on_termination
    if call.at_least(2, 89):
        shown |= {"attachment_id": volume.attachment_id, "bdm_uuid": volume.id}
    return shown


def new_attachment(call: ApiCall, volume: ServerVolume) -> dict[str, Any]:
    """The answer to a POST, which has kept the fields of its first version."""
    shown: dict[str, Any] = {
        "id": volume.volume_id,
        "volumeId": volume.volume_id,
        "serverId": volume.server_id,
        "device": volume.device,
    }
    if call.at_least(2, 70):
        shown["tag"] = volume.tag
    if call.at_least(2, 79):
        shown["delete_on_termination"] = volume.delete_on_termination
    return shown
