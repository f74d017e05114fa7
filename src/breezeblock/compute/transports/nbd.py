"""NBD, as `exports` offers it (os-brick and Nova know no NBD). Its data:

transport                       "unix" or "tcp"
path                            unix: the socket, on this host
host, port                      tcp: the address
tls_psk_username, tls_psk_key   tcp: TLS with a pre-shared key (hexadecimal); optional
export                          the export's name
"""

from __future__ import annotations

from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.transports.base import Data, Json, Near, Transport, required

RECONNECT_DELAY = 600
"""Seconds for which a guest's requests wait for an NBD server that is away, before they fail."""


def transport(data: Data, names: DiskNames, near: Near) -> Transport:
    options: Json = {
        "driver": "nbd",
        "server": _server(data),
        "export": str(required(data, "nbd", "export")),
        "reconnect-delay": RECONNECT_DELAY,
    }
    key = data.get("tls_psk_key")
    if key is None:
        return Transport(options)
    username = str(required(data, "nbd", "tls_psk_username"))
    credentials = {
        "qom-type": "tls-creds-psk",
        "id": names.tls_credentials,
        "dir": str(near.secrets_dir),
        "username": username,
        "endpoint": "client",
    }
    return Transport(
        options={**options, "tls-creds": names.tls_credentials},
        objects=(credentials,),
        secrets={"keys.psk": f"{username}:{key}\n"},
    )


def _server(data: Data) -> Json:
    if required(data, "nbd", "transport") == "unix":
        return {"type": "unix", "path": str(required(data, "nbd", "path"))}
    host, port = required(data, "nbd", "host"), required(data, "nbd", "port")
    return {"type": "inet", "host": str(host), "port": str(port)}
