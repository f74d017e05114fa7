"""One function a transport: from the data of a connection_info to QEMU's protocol node.

`block_devices` looks them up in `TRANSPORTS`. To teach the host another transport (iscsi, rbd),
write its function and name it there.

Data of the `nbd` transport (ours, made by `exports`: os-brick and Nova know none):

    transport                       "unix" or "tcp"
    path                            unix: the socket, on this host
    host, port                      tcp: the address
    tls_psk_username, tls_psk_key   tcp: TLS with a pre-shared key (hexadecimal); optional
    export                          the export's name
    volume_id, read_only            of all transports, see `block_devices`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.hypervisor import HostError

Json = dict[str, Any]

RECONNECT_DELAY = 600
"""Seconds for which a guest's requests wait for an NBD server that is away, before they fail."""


@dataclass(frozen=True, slots=True)
class Transport:
    """How QEMU reaches the storage: the protocol node's options and what they refer to.

    `secrets` are file names and contents, to be written to the folder that the objects name.
    """

    options: Json
    objects: tuple[Json, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def _nbd(data: Mapping[str, Any], names: DiskNames, secrets_dir: Path) -> Transport:
    options: Json = {
        "driver": "nbd",
        "server": _nbd_server(data),
        "export": str(_required(data, "nbd", "export")),
        "reconnect-delay": RECONNECT_DELAY,
    }
    key = data.get("tls_psk_key")
    if key is None:
        return Transport(options)
    username = str(_required(data, "nbd", "tls_psk_username"))
    credentials = {
        "qom-type": "tls-creds-psk",
        "id": names.tls_credentials,
        "dir": str(secrets_dir),
        "username": username,
        "endpoint": "client",
    }
    return Transport(
        options={**options, "tls-creds": names.tls_credentials},
        objects=(credentials,),
        secrets={"keys.psk": f"{username}:{key}\n"},
    )


def _nbd_server(data: Mapping[str, Any]) -> Json:
    if _required(data, "nbd", "transport") == "unix":
        return {"type": "unix", "path": str(_required(data, "nbd", "path"))}
    host, port = _required(data, "nbd", "host"), _required(data, "nbd", "port")
    return {"type": "inet", "host": str(host), "port": str(port)}


def _local(data: Mapping[str, Any], _names: DiskNames, _secrets_dir: Path) -> Transport:
    """A file or a block device of this host.

    A block device is opened past the page cache (two caches for the same blocks help nobody); a
    file goes through it, because not every file system can do without and because reflink copies
    of it must see what the guest wrote. The guest's flushes reach the disk in both cases.
    """
    path = Path(str(_required(data, "local", "device_path")))
    if path.is_block_device():
        return Transport(
            {"driver": "host_device", "filename": str(path), "cache": {"direct": True}}
        )
    if path.is_file():
        return Transport({"driver": "file", "filename": str(path), "cache": {"direct": False}})
    raise HostError(f"{path} is neither a file nor a block device of this host.", temporary=True)


def _required(data: Mapping[str, Any], kind: str, key: str) -> Any:
    if data.get(key) in (None, ""):
        raise HostError(f"The connection_info of a volume over {kind} has no {key!r}.")
    return data[key]


TRANSPORTS: Mapping[str, Callable[[Mapping[str, Any], DiskNames, Path], Transport]] = {
    "nbd": _nbd,
    "local": _local,
}
"""driver_volume_type → the function that knows it."""
